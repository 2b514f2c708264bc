#include "store/embedded/record_reader.h"

#include <cerrno>

#include "engine/base/assert.h"

namespace ringtalk::store {

bool RecordReader::start(ReadClient& client, uint32_t tag, Pointer place, uint32_t bytes) {
  RT_ASSERT(place && bytes > 0);
  if (reading_ == kReadsMax) return false;
  if (free_.empty()) free_.push_back(slots_.emplace_back(std::make_unique<Slot>(*this)).get());
  Slot& slot = *free_.back();
  free_.pop_back();
  ++reading_;
  slot.client = &client;
  slot.tag    = tag;
  slot.place  = place;
  slot.wanted = bytes;
  slot.got    = 0;
  if (bytes > kWindowBytes) slot.long_read.resize(bytes);
  slot.fd = files_.acquire(place.segment(), slot);
  if (slot.fd >= 0) slot.submit();
  return true;
}

void RecordReader::Slot::on_file(Result<int> file) noexcept {
  if (!file) {
    fd = -1;
    finish(std::unexpected(file.error()));
    return;
  }
  fd = *file;
  submit();
}

void RecordReader::Slot::submit() {
  owner.ring_.read(fd, buffer().subspan(got, wanted - got), place.offset() + got, read);
}

void RecordReader::Slot::on_done(int32_t result, uint32_t) noexcept {
  if (result == -EINTR || result == -EAGAIN) {
    submit();
    return;
  }
  if (result < 0) {
    finish(fail_os(-result));
    return;
  }
  got += static_cast<uint32_t>(result);
  if (result > 0 && got < wanted) {
    submit();
    return;
  }
  finish(Bytes(buffer()).first(got));
}

void RecordReader::Slot::finish(Result<Bytes> bytes) noexcept {
  if (fd >= 0) owner.files_.release(place.segment());
  --owner.reading_;
  client->on_read(tag, place, bytes);
  // Free only now: the client may start others while it looks at these bytes.
  std::vector<std::byte>().swap(long_read);
  owner.free_.push_back(this);
}

}  // namespace ringtalk::store
