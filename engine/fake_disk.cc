#include "engine/fake_disk.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <set>

#include "engine/base/assert.h"

namespace ringtalk::engine {

namespace {

constexpr size_t kSizesMax   = 256;                // remembered sizes per file between syncs
constexpr uint64_t kBytesMax = uint64_t{1} << 40;  // offsets beyond it answer EFBIG

std::string_view parent_of(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

uint64_t blocks(uint64_t size) {
  return (size + FakeDisk::kBlockBytes - 1) / FakeDisk::kBlockBytes * FakeDisk::kBlockBytes;
}

}  // namespace

// --- one file ------------------------------------------------------------------------------------

const FakeDisk::Sector& FakeDisk::File::sector(uint64_t index) const {
  static constexpr Sector kHole{};
  if (auto it = cache.find(index); it != cache.end()) return it->second.bytes;
  if (auto it = medium.find(index); it != medium.end()) return it->second;
  return kHole;
}

void FakeDisk::File::write(uint64_t offset, Bytes bytes) {
  resize(std::max(size, offset + bytes.size()));
  while (!bytes.empty()) {
    const uint64_t index = offset / kSectorBytes;
    const uint64_t begin = offset % kSectorBytes;
    const size_t count   = std::min<size_t>(bytes.size(), kSectorBytes - begin);
    Sector next          = sector(index);
    std::memcpy(next.data() + begin, bytes.data(), count);
    const bool hole = next == Sector{} && !medium.contains(index) && !cache.contains(index);
    if (!hole) cache.insert_or_assign(index, Cached{.bytes = next});
    offset += count;
    bytes = bytes.subspan(count);
  }
}

void FakeDisk::File::zero_from(uint64_t offset) {
  const uint64_t first = offset / kSectorBytes;
  std::set<uint64_t> touched;
  for (auto it = medium.lower_bound(first); it != medium.end(); ++it) touched.insert(it->first);
  for (auto it = cache.lower_bound(first); it != cache.end(); ++it) touched.insert(it->first);
  for (const uint64_t index : touched) {
    Sector next          = sector(index);
    const uint64_t begin = index == first ? offset % kSectorBytes : 0;
    std::memset(next.data() + begin, 0, kSectorBytes - begin);
    cache.insert_or_assign(index, Cached{.bytes = next});
  }
}

void FakeDisk::File::read(uint64_t offset, MutableBytes into) const {
  while (!into.empty()) {
    const uint64_t begin = offset % kSectorBytes;
    const size_t count   = std::min<size_t>(into.size(), kSectorBytes - begin);
    std::memcpy(into.data(), sector(offset / kSectorBytes).data() + begin, count);
    offset += count;
    into = into.subspan(count);
  }
}

void FakeDisk::File::resize(uint64_t bytes) {
  if (bytes == size) return;
  if (bytes < size) zero_from(bytes);
  size = bytes;
  if (sizes.size() == kSizesMax) sizes.erase(sizes.begin());
  sizes.push_back(bytes);
}

void FakeDisk::File::sync() {
  for (auto it = cache.begin(); it != cache.end();) {
    if (!it->second.dirty) {
      ++it;
      continue;
    }
    medium.insert_or_assign(it->first, it->second.bytes);
    it = cache.erase(it);
  }
  durable_size = size;
  sizes.clear();
}

void FakeDisk::File::lose() {
  for (auto& [index, cached] : cache) cached.dirty = false;
}

void FakeDisk::File::crash(Random& random) {
  for (const auto& [index, cached] : cache) {
    const uint64_t fate = random.below(16);
    if (fate < 8) continue;  // died
    Sector next = cached.bytes;
    if (fate == 15) {  // torn: one end is new, the other old
      const uint64_t cut = 1 + random.below(kSectorBytes - 1);
      const auto old     = medium.find(index);
      const Sector prior = old == medium.end() ? Sector{} : old->second;
      const bool head    = random.below(2) == 0;
      std::copy(prior.begin() + (head ? cut : 0), head ? prior.end() : prior.begin() + cut,
                next.begin() + (head ? cut : 0));
    }
    medium.insert_or_assign(index, next);
  }
  cache.clear();
  settle(random);
}

// The size after a crash: any it has had since the last sync. Bytes beyond it are gone.
void FakeDisk::File::settle(Random& random) {
  const uint64_t pick = random.below(sizes.size() + 1);
  size                = pick == sizes.size() ? durable_size : sizes[pick];
  if (size % kSectorBytes != 0) {
    if (auto it = medium.find(size / kSectorBytes); it != medium.end())
      std::fill(it->second.begin() + size % kSectorBytes, it->second.end(), std::byte{0});
  }
  medium.erase(medium.lower_bound((size + kSectorBytes - 1) / kSectorBytes), medium.end());
  durable_size = size;
  sizes.clear();
}

// --- names ---------------------------------------------------------------------------------------

void FakeDisk::apply(const Change& change, Names& names) {
  if (!change.from.empty()) names.erase(change.from);
  if (!change.to.empty()) names.insert_or_assign(change.to, change.file);
}

void FakeDisk::change(Change change) {
  apply(change, names_);
  changes_.push_back(std::move(change));
}

bool FakeDisk::is_directory(std::string_view path) const {
  if (path.empty() || path == ".") return true;
  const auto it = names_.find(path);
  return it != names_.end() && it->second == nullptr;
}

Result<void> FakeDisk::check_parent(std::string_view path) const {
  if (!stays_inside(path)) return fail_os(EINVAL);
  const std::string_view parent = parent_of(path);
  if (is_directory(parent)) return {};
  return fail_os(names_.contains(parent) ? ENOTDIR : ENOENT);
}

// --- Disk ----------------------------------------------------------------------------------------

int FakeDisk::enter(Call call) {
  if (observer_ && call != Call::open && call != Call::read) observer_(call);
  if (!powered_) return EIO;
  const uint64_t now = ++counters_[static_cast<size_t>(call)];
  for (auto it = planned_.begin(); it != planned_.end(); ++it) {
    if (it->call != call || it->at != now) continue;
    const int error = it->error;
    planned_.erase(it);
    return error;
  }
  return 0;
}

void FakeDisk::fail(Call call, uint32_t n, int error) {
  RT_ASSERT(n > 0);
  RT_ASSERT(error > 0);
  planned_.push_back({call, calls(call) + n, error});
}

FakeDisk::Descriptor* FakeDisk::find(int fd) {
  const auto it = open_.find(fd);
  return it == open_.end() ? nullptr : &it->second;
}

Result<int> FakeDisk::open(std::string_view path, Open mode) {
  if (const int error = enter(Call::open)) return fail_os(error);
  if (auto ok = check_parent(path); !ok) return std::unexpected(ok.error());
  auto it = names_.find(path);
  if (mode == Open::create_new) {
    if (it != names_.end()) return fail_os(EEXIST);
    change({.from = "", .to = std::string(path), .file = std::make_shared<File>()});
    it = names_.find(path);
  }
  if (it == names_.end()) return fail_os(ENOENT);
  if (it->second == nullptr) return fail_os(EISDIR);
  open_.emplace(next_fd_, Descriptor{it->second, mode != Open::read});
  return next_fd_++;
}

// Closing a descriptor from before a crash is what destructors do: no harm.
void FakeDisk::close(int fd) { open_.erase(fd); }

int32_t FakeDisk::read_some(int fd, MutableBytes into, uint64_t offset) {
  if (const int error = enter(Call::read)) return -error;
  const Descriptor* file = find(fd);
  if (file == nullptr) return -EBADF;
  if (offset >= file->file->size) return 0;
  const size_t count = std::min<uint64_t>({into.size(), file->file->size - offset, INT_MAX});
  file->file->read(offset, into.first(count));
  return static_cast<int32_t>(count);
}

int32_t FakeDisk::write_some(int fd, Bytes bytes, uint64_t offset) {
  if (const int error = enter(Call::write)) return -error;
  Descriptor* file = find(fd);
  if (file == nullptr) return -EBADF;
  if (!file->writable) return -EBADF;
  if (offset > kBytesMax || bytes.size() > INT_MAX) return -EFBIG;
  if (bytes.empty()) return 0;
  const uint64_t room = room_for(*file->file, offset + bytes.size());
  if (room <= offset) return -ENOSPC;
  const size_t count = std::min<uint64_t>(bytes.size(), room - offset);
  file->file->write(offset, bytes.first(count));
  return static_cast<int32_t>(count);
}

int32_t FakeDisk::datasync(int fd) {
  const int error  = enter(Call::sync);
  Descriptor* file = find(fd);
  if (file == nullptr) return -EBADF;
  if (error != 0) {
    if (powered_) file->file->lose();
    return -error;
  }
  file->file->sync();
  return 0;
}

Result<size_t> FakeDisk::read(int fd, MutableBytes into, uint64_t offset) {
  const int32_t got = read_some(fd, into, offset);
  if (got < 0) return fail_os(-got);
  return static_cast<size_t>(got);
}

Result<void> FakeDisk::write(int fd, Bytes bytes, uint64_t offset) {
  const int32_t put = write_some(fd, bytes, offset);
  if (put < 0) return fail_os(-put);
  if (static_cast<size_t>(put) < bytes.size()) return fail_os(ENOSPC);
  return {};
}

Result<void> FakeDisk::allocate(int fd, uint64_t bytes) {
  if (const int error = enter(Call::allocate)) return fail_os(error);
  Descriptor* file = find(fd);
  if (file == nullptr || !file->writable) return fail_os(EBADF);
  if (bytes > kBytesMax) return fail_os(EFBIG);
  if (bytes <= file->file->size) return {};
  if (room_for(*file->file, bytes) < bytes) return fail_os(ENOSPC);
  file->file->resize(bytes);
  return {};
}

Result<void> FakeDisk::truncate(int fd, uint64_t bytes) {
  if (const int error = enter(Call::truncate)) return fail_os(error);
  Descriptor* file = find(fd);
  if (file == nullptr) return fail_os(EBADF);
  if (!file->writable) return fail_os(EINVAL);
  if (bytes > kBytesMax) return fail_os(EFBIG);
  file->file->resize(bytes);
  return {};
}

Result<uint64_t> FakeDisk::size(int fd) {
  const Descriptor* file = find(fd);
  if (file == nullptr) return fail_os(EBADF);
  return file->file->size;
}

Result<void> FakeDisk::sync(int fd) {
  const int32_t result = datasync(fd);
  if (result < 0) return fail_os(-result);
  return {};
}

Result<void> FakeDisk::sync_directory(std::string_view path) {
  if (const int error = enter(Call::sync_directory)) return fail_os(error);
  if (path == ".") path = "";
  if (!path.empty() && !stays_inside(path)) return fail_os(EINVAL);
  if (!is_directory(path)) return fail_os(names_.contains(path) ? ENOTDIR : ENOENT);
  std::erase_if(changes_, [&](const Change& change) {
    const bool here = (!change.from.empty() && parent_of(change.from) == path) ||
                      (!change.to.empty() && parent_of(change.to) == path);
    if (here) apply(change, durable_names_);
    return here;
  });
  return {};
}

Result<void> FakeDisk::make_directory(std::string_view path) {
  if (const int error = enter(Call::make_directory)) return fail_os(error);
  if (auto ok = check_parent(path); !ok) return ok;
  if (names_.contains(path)) {
    if (is_directory(path)) return {};
    return fail_os(ENOTDIR);
  }
  change({.from = "", .to = std::string(path), .file = nullptr});
  return {};
}

// Files only: nobody here renames or removes a directory.
Result<void> FakeDisk::rename(std::string_view from, std::string_view to) {
  if (const int error = enter(Call::rename)) return fail_os(error);
  if (auto ok = check_parent(from); !ok) return ok;
  if (auto ok = check_parent(to); !ok) return ok;
  const auto it = names_.find(from);
  if (it == names_.end()) return fail_os(ENOENT);
  if (it->second == nullptr || (names_.contains(to) && is_directory(to))) return fail_os(EISDIR);
  if (from == to) return {};
  change({.from = std::string(from), .to = std::string(to), .file = it->second});
  return {};
}

Result<void> FakeDisk::remove(std::string_view path) {
  if (const int error = enter(Call::remove)) return fail_os(error);
  if (auto ok = check_parent(path); !ok) return ok;
  const auto it = names_.find(path);
  if (it == names_.end()) return fail_os(ENOENT);
  if (it->second == nullptr) return fail_os(EISDIR);
  change({.from = std::string(path), .to = "", .file = nullptr});
  return {};
}

Result<std::vector<std::string>> FakeDisk::list(std::string_view path) {
  if (path == ".") path = "";
  if (!path.empty() && !stays_inside(path)) return fail_os(EINVAL);
  if (!is_directory(path)) return fail_os(names_.contains(path) ? ENOTDIR : ENOENT);
  std::vector<std::string> found;
  for (const auto& [name, file] : names_)
    if (parent_of(name) == path) found.push_back(name.substr(path.empty() ? 0 : path.size() + 1));
  std::ranges::sort(found);
  return found;
}

// --- space ---------------------------------------------------------------------------------------

// Removed files count as long as somebody has them open.
uint64_t FakeDisk::space_used() const {
  std::set<const File*> files;
  for (const auto& [name, file] : names_)
    if (file) files.insert(file.get());
  for (const auto& [fd, descriptor] : open_) files.insert(descriptor.file.get());
  uint64_t used = 0;
  for (const File* file : files) used += blocks(file->size);
  return used;
}

// The size that `file` may have when it wants `size`: all of it, or as far as the budget goes.
uint64_t FakeDisk::room_for(const File& file, uint64_t size) const {
  if (size <= blocks(file.size) || space_bytes_ == ~uint64_t{0}) return size;
  const uint64_t others = space_used() - blocks(file.size);
  const uint64_t left   = space_bytes_ > others ? space_bytes_ - others : 0;
  return std::min(size, std::max(blocks(file.size), left / kBlockBytes * kBlockBytes));
}

// --- endings -------------------------------------------------------------------------------------

void FakeDisk::crash(Random& random) {
  for (const Change& change : changes_)
    if (random.below(2) == 0) apply(change, durable_names_);
  changes_.clear();
  // A name whose directory did not survive is unreachable. Parents sort before their children.
  std::erase_if(durable_names_, [&](const auto& entry) {
    for (auto parent = parent_of(entry.first); !parent.empty(); parent = parent_of(parent)) {
      const auto it = durable_names_.find(parent);
      if (it == durable_names_.end() || it->second != nullptr) return true;
    }
    return false;
  });
  std::set<File*> settled;  // two names may have survived of one file
  for (auto& [name, file] : durable_names_)
    if (file && settled.insert(file.get()).second) file->crash(random);
  names_ = durable_names_;
  kill();
}

void FakeDisk::kill() {
  powered_ = true;
  open_.clear();
  planned_.clear();
}

// --- a look at the medium ------------------------------------------------------------------------

void FakeDisk::flip_bit(std::string_view path, uint64_t bit) {
  const auto it = names_.find(path);
  RT_ASSERT(it != names_.end());
  File& file = *it->second;
  RT_ASSERT(bit / 8 < file.size);
  const uint64_t index = bit / 8 / kSectorBytes;
  const auto flip      = [&](Sector& sector) {
    sector[bit / 8 % kSectorBytes] ^= std::byte{1} << static_cast<int>(bit % 8);
  };
  if (auto cached = file.cache.find(index); cached != file.cache.end()) flip(cached->second.bytes);
  flip(file.medium[index]);
}

std::optional<std::vector<std::byte>> FakeDisk::contents(std::string_view path) const {
  const auto it = names_.find(path);
  if (it == names_.end() || it->second == nullptr) return std::nullopt;
  std::vector<std::byte> bytes(it->second->size);
  it->second->read(0, bytes);
  return bytes;
}

std::optional<std::vector<std::byte>> FakeDisk::durable(std::string_view path) const {
  const auto it = durable_names_.find(path);
  if (it == durable_names_.end() || it->second == nullptr) return std::nullopt;
  std::vector<std::byte> bytes(it->second->durable_size);
  File medium_only;
  medium_only.medium = it->second->medium;
  medium_only.read(0, bytes);
  return bytes;
}

}  // namespace ringtalk::engine
