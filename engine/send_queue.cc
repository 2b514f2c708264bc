#include "engine/send_queue.h"

#include <algorithm>
#include <new>

namespace ringtalk::engine {

// A chunk lives at the start of a pool block; a reference needs only the smallest size.
struct SendQueue::Chunk {
  Chunk* next    = nullptr;
  uint32_t begin = 0;  // first unsent byte
  uint32_t end   = 0;  // behind the last byte written
  uint32_t room  = 0;  // bytes of data in the block; 0 = a reference
  uint8_t size   = 0;  // BlockPool size class
  PayloadRef payload;

  std::byte* data() { return reinterpret_cast<std::byte*>(this + 1); }
  const std::byte* from() { return (payload ? payload.bytes().data() : data()) + begin; }
};

SendQueue::Chunk* SendQueue::append_block(uint32_t bytes_wanted, BlockPool& pool) {
  // A queue that already holds something gets larger blocks: few iovecs, few blocks.
  const uint64_t wanted = sizeof(Chunk) + std::max<uint64_t>(bytes_wanted, bytes_ * uint64_t{3});
  const uint8_t size    = BlockPool::size_for(wanted);
  auto* chunk           = new (pool.take(size)) Chunk;
  chunk->size           = size;
  chunk->room           = BlockPool::kBlockBytes[size] - sizeof(Chunk);
  (tail_ ? tail_->next : head_) = chunk;
  tail_                         = chunk;
  return chunk;
}

// Nothing in flight and a single block that became too small: one larger block keeps one iovec.
void SendQueue::grow_only_block(uint32_t bytes_wanted, BlockPool& pool) {
  Chunk* old = head_;
  head_ = tail_       = nullptr;
  const uint32_t used = old->end - old->begin;
  Chunk* chunk        = append_block(used + bytes_wanted, pool);
  std::memcpy(chunk->data(), old->from(), used);
  chunk->end         = used;
  const uint8_t size = old->size;
  old->~Chunk();
  pool.give(old, size);
}

std::byte* SendQueue::reserve(uint32_t bytes, BlockPool& pool) {
  RT_ASSERT(bytes <= kCopyBytesMax);
  static_assert(kCopyBytesMax + sizeof(Chunk) <= BlockPool::kBlockBytes.back());
  if (!tail_ || tail_->room - tail_->end < bytes || tail_->room == 0) {
    const bool single = head_ && head_ == tail_ && tail_->room > 0 && in_flight_ == 0;
    const bool fits   = single && bytes_ + bytes + sizeof(Chunk) <= BlockPool::kBlockBytes.back();
    if (fits) {
      grow_only_block(bytes, pool);
    } else {
      append_block(bytes, pool);
    }
  }
  std::byte* at = tail_->data() + tail_->end;
  tail_->end += bytes;
  bytes_ += bytes;
  return at;
}

void SendQueue::push(Bytes bytes, BlockPool& pool) {
  for (; bytes.size() > kCopyBytesMax; bytes = bytes.subspan(kCopyBytesMax))
    std::memcpy(reserve(kCopyBytesMax, pool), bytes.data(), kCopyBytesMax);
  if (!bytes.empty())
    std::memcpy(reserve(static_cast<uint32_t>(bytes.size()), pool), bytes.data(), bytes.size());
}

void SendQueue::push(const PayloadRef& payload, BlockPool& pool) {
  const Bytes bytes = payload.bytes();
  if (bytes.size() <= kCopyBytesMax) return push(bytes, pool);
  auto* chunk                   = new (pool.take(0)) Chunk;
  chunk->end                    = static_cast<uint32_t>(bytes.size());
  chunk->payload                = payload;
  (tail_ ? tail_->next : head_) = chunk;
  tail_                         = chunk;
  bytes_ += chunk->end;
}

std::span<const iovec> SendQueue::gather(std::span<iovec> parts) {
  RT_ASSERT(in_flight_ == 0);
  size_t count = 0;
  for (Chunk* chunk = head_; chunk && count < parts.size(); chunk = chunk->next) {
    const uint32_t length = chunk->end - chunk->begin;
    if (length == 0) continue;
    parts[count++] = {const_cast<std::byte*>(chunk->from()), length};
    in_flight_ += length;
  }
  return parts.first(count);
}

void SendQueue::pop_front(BlockPool& pool) {
  Chunk* chunk = head_;
  head_        = chunk->next;
  if (!head_) tail_ = nullptr;
  const uint8_t size = chunk->size;
  chunk->~Chunk();
  pool.give(chunk, size);
}

void SendQueue::consume(uint32_t sent, BlockPool& pool) {
  RT_ASSERT(sent <= in_flight_);
  in_flight_ = 0;
  bytes_ -= sent;
  while (sent > 0) {
    const uint32_t take = std::min(sent, head_->end - head_->begin);
    head_->begin += take;
    sent -= take;
    if (head_->begin == head_->end) pop_front(pool);
  }
  RT_ASSERT((bytes_ == 0) == (head_ == nullptr));
}

void SendQueue::clear(BlockPool& pool) {
  RT_ASSERT(in_flight_ == 0);
  while (head_) pop_front(pool);
  bytes_ = 0;
}

}  // namespace ringtalk::engine
