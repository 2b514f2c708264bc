#include "store/embedded/sqlite_vfs.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "engine/base/assert.h"
#include "engine/base/units.h"

namespace ringtalk::store {

// In memory of SQLite's; the first member is what SQLite sees.
struct SqliteVfs::File {
  sqlite3_file base{};
  SqliteVfs* vfs = nullptr;
  int fd         = -1;
  std::string path;
  bool delete_on_close = false;
  bool unsynced_name   = false;  // its directory is synced with its first sync
};

struct SqliteVfs::Calls {
  static SqliteVfs& self(sqlite3_vfs* vfs) { return *static_cast<SqliteVfs*>(vfs->pAppData); }
  static File& self(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }

  static std::string_view directory(std::string_view path) {
    const size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
  }

  static int failed(SqliteVfs& vfs, Error error, int code) {
    vfs.last_error_ = error.os;
    return error.os == ENOSPC || error.os == EDQUOT ? SQLITE_FULL : code;
  }

  // --- files -------------------------------------------------------------------------------------

  static int close(sqlite3_file* base) {
    File& file = self(base);
    file.vfs->disk_.close(file.fd);
    if (file.delete_on_close) (void)file.vfs->disk_.remove(file.path);
    file.~File();
    return SQLITE_OK;
  }

  // A read past the end must zero the rest. Source: sqlite.org/c3ref/io_methods.html.
  static int read(sqlite3_file* base, void* into, int count, sqlite3_int64 offset) {
    File& file = self(base);
    const MutableBytes bytes(static_cast<std::byte*>(into), static_cast<size_t>(count));
    const auto got = file.vfs->disk_.read(file.fd, bytes, static_cast<uint64_t>(offset));
    if (!got) {
      file.vfs->last_error_ = got.error().os;
      return SQLITE_IOERR_READ;
    }
    if (*got == bytes.size()) return SQLITE_OK;
    std::ranges::fill(bytes.subspan(*got), std::byte{0});
    return SQLITE_IOERR_SHORT_READ;
  }

  static int write(sqlite3_file* base, const void* from, int count, sqlite3_int64 offset) {
    File& file = self(base);
    const Bytes bytes(static_cast<const std::byte*>(from), static_cast<size_t>(count));
    const auto ok = file.vfs->disk_.write(file.fd, bytes, static_cast<uint64_t>(offset));
    return ok ? SQLITE_OK : failed(*file.vfs, ok.error(), SQLITE_IOERR_WRITE);
  }

  static int truncate(sqlite3_file* base, sqlite3_int64 size) {
    File& file    = self(base);
    const auto ok = file.vfs->disk_.truncate(file.fd, static_cast<uint64_t>(size));
    return ok ? SQLITE_OK : failed(*file.vfs, ok.error(), SQLITE_IOERR_TRUNCATE);
  }

  static int sync(sqlite3_file* base, int) {
    File& file = self(base);
    if (auto ok = file.vfs->disk_.sync(file.fd); !ok) {
      file.vfs->last_error_ = ok.error().os;
      return SQLITE_IOERR_FSYNC;
    }
    if (!file.unsynced_name) return SQLITE_OK;
    if (auto ok = file.vfs->disk_.sync_directory(directory(file.path)); !ok) {
      file.vfs->last_error_ = ok.error().os;
      return SQLITE_IOERR_DIR_FSYNC;
    }
    file.unsynced_name = false;
    return SQLITE_OK;
  }

  static int size(sqlite3_file* base, sqlite3_int64* out) {
    File& file      = self(base);
    const auto size = file.vfs->disk_.size(file.fd);
    if (!size) return failed(*file.vfs, size.error(), SQLITE_IOERR_FSTAT);
    *out = static_cast<sqlite3_int64>(*size);
    return SQLITE_OK;
  }

  static int lock(sqlite3_file*, int) { return SQLITE_OK; }
  static int check_lock(sqlite3_file*, int* out) {
    *out = 0;
    return SQLITE_OK;
  }
  static int control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int sector_bytes(sqlite3_file*) { return 512; }
  static int characteristics(sqlite3_file* base) { return self(base).vfs->characteristics_; }

  // --- the file system ---------------------------------------------------------------------------

  static Result<int> open_named(SqliteVfs& vfs, File& file, int flags) {
    using Open = engine::Disk::Open;
    auto opened =
        vfs.disk_.open(file.path, flags & SQLITE_OPEN_READONLY ? Open::read : Open::read_write);
    if (flags & SQLITE_OPEN_EXCLUSIVE && opened) {
      vfs.disk_.close(*opened);
      return fail_os(EEXIST);
    }
    // Who created it may have gone without a sync: a name that is there need not be durable.
    file.unsynced_name = (flags & SQLITE_OPEN_CREATE) != 0;
    if (opened || opened.error().os != ENOENT || !file.unsynced_name) return opened;
    return vfs.disk_.open(file.path, Open::create_new);
  }

  // Names of files that a crash left behind are passed over.
  static Result<int> open_temporary(SqliteVfs& vfs, File& file) {
    for (;;) {
      file.path   = "sqlite-temporary-" + std::to_string(++vfs.temporaries_);
      auto opened = vfs.disk_.open(file.path, engine::Disk::Open::create_new);
      if (opened || opened.error().os != EEXIST) return opened;
    }
  }

  static int open(sqlite3_vfs* base, const char* path, sqlite3_file* out, int flags,
                  int* flags_out) {
    static constexpr sqlite3_io_methods kMethods = {
        .iVersion               = 1,
        .xClose                 = close,
        .xRead                  = read,
        .xWrite                 = write,
        .xTruncate              = truncate,
        .xSync                  = sync,
        .xFileSize              = size,
        .xLock                  = lock,
        .xUnlock                = lock,
        .xCheckReservedLock     = check_lock,
        .xFileControl           = control,
        .xSectorSize            = sector_bytes,
        .xDeviceCharacteristics = characteristics,
    };
    SqliteVfs& vfs = self(base);
    File* file     = new (out) File{.vfs = &vfs, .path = path ? path : ""};
    const auto fd  = path ? open_named(vfs, *file, flags) : open_temporary(vfs, *file);
    if (!fd) {
      const int code = failed(vfs, fd.error(), SQLITE_CANTOPEN);
      file->~File();
      out->pMethods = nullptr;  // SQLite must not close it
      return code;
    }
    file->fd              = *fd;
    file->delete_on_close = path == nullptr || (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
    file->base.pMethods   = &kMethods;
    if (flags_out) *flags_out = flags;
    return SQLITE_OK;
  }

  static int remove(sqlite3_vfs* base, const char* path, int sync_name) {
    SqliteVfs& vfs = self(base);
    if (auto ok = vfs.disk_.remove(path); !ok) {
      if (ok.error().os == ENOENT) return SQLITE_IOERR_DELETE_NOENT;
      return failed(vfs, ok.error(), SQLITE_IOERR_DELETE);
    }
    if (!sync_name) return SQLITE_OK;
    auto ok = vfs.disk_.sync_directory(directory(path));
    return ok ? SQLITE_OK : failed(vfs, ok.error(), SQLITE_IOERR_DIR_FSYNC);
  }

  // An empty file does not exist, as SQLite's own layer has it: an emptied journal is none.
  static int access(sqlite3_vfs* base, const char* path, int flags, int* out) {
    SqliteVfs& vfs = self(base);
    const auto fd  = vfs.disk_.open(path, engine::Disk::Open::read);
    *out           = 0;
    if (!fd && fd.error().os == ENOENT) return SQLITE_OK;
    if (!fd) return failed(vfs, fd.error(), SQLITE_IOERR_ACCESS);
    const auto bytes = vfs.disk_.size(*fd);
    vfs.disk_.close(*fd);
    *out = flags != SQLITE_ACCESS_EXISTS || bytes.value_or(0) > 0;
    return SQLITE_OK;
  }

  static int full_path(sqlite3_vfs*, const char* path, int bytes_max, char* out) {
    const size_t bytes = std::strlen(path) + 1;
    if (bytes > static_cast<size_t>(bytes_max)) return SQLITE_CANTOPEN;
    std::memcpy(out, path, bytes);
    return SQLITE_OK;
  }

  static int random_bytes(sqlite3_vfs* base, int count, char* out) {
    self(base).random_.fill({reinterpret_cast<std::byte*>(out), static_cast<size_t>(count)});
    return count;
  }

  static int sleep(sqlite3_vfs*, int us) { return us; }  // nobody else holds a lock to wait for

  // Milliseconds since noon of 24 November 4714 BC, Greenwich.
  static int time_ms(sqlite3_vfs* base, sqlite3_int64* out) {
    constexpr sqlite3_int64 kJulianUnixMs = 210'866'760'000'000;
    *out = kJulianUnixMs + static_cast<sqlite3_int64>(self(base).clock_.wall_ns() / kNsPerMs);
    return SQLITE_OK;
  }
  static int time_days(sqlite3_vfs* base, double* out) {
    sqlite3_int64 ms = 0;
    time_ms(base, &ms);
    *out = static_cast<double>(ms) / 86'400'000.0;
    return SQLITE_OK;
  }

  static int last_error(sqlite3_vfs* base, int, char*) { return self(base).last_error_; }
};

SqliteVfs::SqliteVfs(std::string name, engine::Disk& disk, engine::Clock& clock,
                     engine::Random& random)
    : name_(std::move(name)), disk_(disk), clock_(clock), random_(random) {
  RT_ASSERT(sqlite3_vfs_find(name_.c_str()) == nullptr);
  vfs_.iVersion          = 2;
  vfs_.szOsFile          = sizeof(File);
  vfs_.mxPathname        = 512;
  vfs_.zName             = name_.c_str();
  vfs_.pAppData          = this;
  vfs_.xOpen             = Calls::open;
  vfs_.xDelete           = Calls::remove;
  vfs_.xAccess           = Calls::access;
  vfs_.xFullPathname     = Calls::full_path;
  vfs_.xRandomness       = Calls::random_bytes;
  vfs_.xSleep            = Calls::sleep;
  vfs_.xCurrentTime      = Calls::time_days;
  vfs_.xGetLastError     = Calls::last_error;
  vfs_.xCurrentTimeInt64 = Calls::time_ms;
  const int code         = sqlite3_vfs_register(&vfs_, 0);
  RT_ASSERT(code == SQLITE_OK);
}

SqliteVfs::~SqliteVfs() { sqlite3_vfs_unregister(&vfs_); }

}  // namespace ringtalk::store
