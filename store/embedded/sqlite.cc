#include "store/embedded/sqlite.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "engine/base/assert.h"
#include "engine/log.h"

namespace ringtalk::store {

namespace {

// SQLite would create the file with the mode that umask leaves; its -wal and -shm copy this one.
Result<void> create_private(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return fail_os(errno);
  ::close(fd);
  return {};
}

// SQLite syncs the directory of a new log itself, but ignores how that ends.
Result<void> sync_directory_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const int fd = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_os(errno);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0) return fail_os(error);
  return {};
}

constexpr int kCheckpointPages = 1000;  // SQLite's own default

bool is_failed_sync(int code) {
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

// The same bytes, so a power cut amid it changes nothing; but written, so that the next sync is honest.
int write_again(sqlite3_file& file) {
  sqlite3_int64 size = 0;
  if (const int code = file.pMethods->xFileSize(&file, &size); code != SQLITE_OK) return code;
  std::array<std::byte, 64 * kKiB> part;
  for (sqlite3_int64 at = 0; at < size; at += std::ssize(part)) {
    const int count = static_cast<int>(std::min<sqlite3_int64>(size - at, std::ssize(part)));
    int code        = file.pMethods->xRead(&file, part.data(), count, at);
    if (code == SQLITE_OK) code = file.pMethods->xWrite(&file, part.data(), count, at);
    if (code != SQLITE_OK) return code;
  }
  return size > 0 ? file.pMethods->xSync(&file, SQLITE_SYNC_NORMAL) : SQLITE_OK;
}

// SQLite's own VFS, but a part of the shared memory that the disk has no room for is an error. SQLite
// makes room for the last byte of each 4 KiB only: on a file system of smaller blocks the rest are
// holes, and a store into a hole of a full disk is a SIGBUS.
class PopulatedVfs {
 public:
  static const char* name() {
    static PopulatedVfs vfs;
    return vfs.vfs_.zName;
  }

 private:
  PopulatedVfs() {
    sqlite3_vfs* system = sqlite3_vfs_find(nullptr);
    RT_ASSERT(system != nullptr);
    vfs_           = *system;
    vfs_.zName     = "ringtalk-populated";
    vfs_.xOpen     = open;
    vfs_.pNext     = nullptr;
    system_open()  = system->xOpen;
    const int code = sqlite3_vfs_register(&vfs_, 0);
    RT_ASSERT(code == SQLITE_OK);
  }

  static decltype(sqlite3_vfs::xOpen)& system_open() {
    static decltype(sqlite3_vfs::xOpen) open = nullptr;
    return open;
  }

  static int open(sqlite3_vfs* vfs, const char* path, sqlite3_file* file, int flags,
                  int* out_flags) {
    const int code = system_open()(vfs, path, file, flags, out_flags);
    if (code != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) return code;
    static const sqlite3_io_methods* const system = file->pMethods;  // one kind of local file
    static const sqlite3_io_methods populated     = [] {
      sqlite3_io_methods methods = *system;
      methods.xShmMap            = map_populated;
      return methods;
    }();
    RT_ASSERT(file->pMethods == system && system->iVersion >= 2);
    system_map()   = system->xShmMap;
    file->pMethods = &populated;
    return code;
  }

  static decltype(sqlite3_io_methods::xShmMap)& system_map() {
    static decltype(sqlite3_io_methods::xShmMap) map = nullptr;
    return map;
  }

  static int map_populated(sqlite3_file* file, int part, int bytes, int extend,
                           void volatile** at) {
    const int code = system_map()(file, part, bytes, extend, at);
    if (code != SQLITE_OK || *at == nullptr) return code;
    void* const memory = const_cast<void*>(*at);
    // EINVAL: memory that is not of the file, or a kernel that cannot; neither is a full disk.
    if (::madvise(memory, static_cast<size_t>(bytes), MADV_POPULATE_WRITE) == 0 || errno == EINVAL)
      return code;
    *at = nullptr;
    return SQLITE_IOERR_SHMSIZE;
  }

  sqlite3_vfs vfs_{};
};

}  // namespace

Sqlite::~Sqlite() { close(); }

void Sqlite::close() {
  const int code = sqlite3_close(db_);
  RT_ASSERT(code == SQLITE_OK);  // else a statement outlived its database
  db_ = nullptr;
}

Result<void> Sqlite::open(const Options& options) {
  RT_ASSERT(db_ == nullptr);
  options_ = options;
  if (options.vfs_name.empty()) {
    if (auto created = create_private(options.path); !created) return created;
  }
  if (auto connected = connect(); !connected) return connected;
  if (options.exclusive) return {};
  // The first look maps the shared memory. On a full disk there is none: alone it goes without.
  const int code = sqlite3_exec(db_, "PRAGMA schema_version", nullptr, nullptr, nullptr);
  if (code != SQLITE_IOERR_SHMSIZE)
    return {};  // any other error comes again, to who can say what it is
  engine::log::warn("sqlite_exclusive",
                    {{"file", options.path}, {"why", "no room for shared memory"}});
  close();
  options_.exclusive = true;
  return connect();
}

Result<void> Sqlite::connect() {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_EXRESCODE;
  const char* const vfs =
      options_.vfs_name.empty() ? PopulatedVfs::name() : options_.vfs_name.c_str();
  const int code = sqlite3_open_v2(options_.path.c_str(), &db_, flags, vfs);
  if (code != SQLITE_OK) return std::unexpected(error_of(code));
  sqlite3_limit(db_, SQLITE_LIMIT_LENGTH, kValueBytesMax);
  sqlite3_busy_timeout(db_, options_.busy_ms);
  // Closing must not write either, until the file is known to be ours.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DDL, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  return execute(options_.exclusive ? "PRAGMA trusted_schema=OFF; PRAGMA locking_mode=EXCLUSIVE"
                                    : "PRAGMA trusted_schema=OFF");
}

Result<void> Sqlite::renew_wal() {
  if (auto begun = execute("BEGIN IMMEDIATE"); !begun) return begun;  // nobody else appends
  sqlite3_file* file = nullptr;  // of the log; not opened when there is none
  int code           = sqlite3_file_control(db_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  if (code == SQLITE_OK && file != nullptr && file->pMethods != nullptr) code = write_again(*file);
  Result<void> renewed;
  if (code != SQLITE_OK) renewed = std::unexpected(error_of(code));
  if (auto ended = execute("ROLLBACK"); !ended) return ended;
  return renewed;
}

Result<void> Sqlite::tune() {
  Statement journal;
  if (auto ok = journal.prepare(*this, "PRAGMA journal_mode=WAL"); !ok) return ok;
  {
    Query query(journal);
    auto row = query.step();
    if (!row) return std::unexpected(row.error());
    if (!*row || query.text(0) != "wal") return fail(Errc::unsupported);
    // The answer comes before the commit that makes it true; without WAL, FULL would not be durable
    // (a journal's removal is not synced).
    if (auto end = query.run(); !end) return end;
  }
  if (options_.vfs_name.empty())
    if (auto synced = sync_directory_of(options_.path); !synced) return synced;
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  sqlite3_wal_hook(db_, on_commit, this);
  return execute(
      "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON;"
      "PRAGMA journal_size_limit=16777216");
}

// Instead of SQLite's own, which tells nobody that a sync failed. What else fails (a full disk, a
// reader in the way) is tried again by the next commit.
int Sqlite::on_commit(void* self, sqlite3* db, const char* name, int wal_pages) {
  if (wal_pages < kCheckpointPages) return SQLITE_OK;
  const int code = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (is_failed_sync(code)) (void)static_cast<Sqlite*>(self)->error_of(code);
  return SQLITE_OK;  // the commit itself is durable
}

Result<void> Sqlite::execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return std::unexpected(error_of(code));
  return {};
}

Result<int64_t> Sqlite::number(const char* sql) {
  Statement statement;
  if (auto ok = statement.prepare(*this, sql); !ok) return std::unexpected(ok.error());
  Query query(statement);
  auto row = query.step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return fail(Errc::not_found);
  return query.integer(0);
}

// Source: sqlite.org/rescode.html. sqlite3_system_errno() is 0 when no system call failed.
Error Sqlite::error_of(int code) {
  if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY)
    return {Errc::exists};
  if ((code & 0xff) == SQLITE_CONSTRAINT) return {Errc::refused};
  if ((code & 0xff) == SQLITE_TOOBIG) return {Errc::too_large};
  engine::log::warn(
      "sqlite_error",
      {{"code", code}, {"text", sqlite3_errstr(code)}, {"detail", db_ ? sqlite3_errmsg(db_) : ""}});
  switch (code & 0xff) {
    case SQLITE_FULL: return Error::from_errno(ENOSPC);
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Errc::timeout};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return {Errc::corrupt};
    case SQLITE_NOMEM: return Error::from_errno(ENOMEM);
    case SQLITE_READONLY: return Error::from_errno(EROFS);
    default: break;
  }
  const int os      = db_ ? sqlite3_system_errno(db_) : 0;
  const Error error = Error::from_errno(os != 0 ? os : EIO);
  if (is_failed_sync(code) && !sync_failed_) {
    sync_failed_ = error;
    sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  }
  return error;
}

Result<void> Statement::prepare(Sqlite& db, std::string_view sql) {
  RT_ASSERT(statement_ == nullptr);
  db_            = &db;
  const int code = sqlite3_prepare_v3(db.raw(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement_, nullptr);
  if (code != SQLITE_OK) return std::unexpected(db.error_of(code));
  return {};
}

Query::~Query() {
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Query& Query::bind(int index, int64_t value) {
  const int code = sqlite3_bind_int64(statement_, index, value);
  if (code != SQLITE_OK) failed_ = code;
  return *this;
}

// A null pointer would bind NULL; an empty text is one.
Query& Query::bind(int index, std::string_view text) {
  const int code = sqlite3_bind_text64(statement_, index, text.empty() ? "" : text.data(),
                                       text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (code != SQLITE_OK) failed_ = code;
  return *this;
}

Result<bool> Query::step() {
  const int code = failed_ != SQLITE_OK ? failed_ : sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return std::unexpected(db_.error_of(code));
}

Result<void> Query::run() {
  auto row = step();
  if (!row) return std::unexpected(row.error());
  return {};
}

void Query::reset() { sqlite3_reset(statement_); }

std::string Query::text(int column) const {
  const auto* bytes = sqlite3_column_text(statement_, column);  // before the size: it may convert
  const int count   = sqlite3_column_bytes(statement_, column);
  return bytes ? std::string(reinterpret_cast<const char*>(bytes), static_cast<size_t>(count))
               : std::string();
}

}  // namespace ringtalk::store
