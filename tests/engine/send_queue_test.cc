#include "engine/send_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <string>

#include "engine/random.h"

namespace ringtalk::engine {
namespace {

std::string some_text(SeededRandom& random, size_t bytes) {
  std::string text(bytes, '\0');
  random.fill(std::as_writable_bytes(std::span(text)));
  return text;
}

// The queue beside a plain string: pushes in all forms, sends that take a part of what was gathered,
// more pushes while a send is in flight. What is in flight must neither move nor change.
void random_run(uint64_t seed, size_t large) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  SeededRandom random(seed);
  BlockPool pool;
  SendQueue queue;
  std::string model;
  std::array<iovec, SendQueue::kGatherMax> parts;
  std::span<const iovec> out;
  std::string flying;
  std::deque<PayloadRef> shared;  // so that a wrong count frees too early or too late

  const auto check_flying = [&] {
    std::string now;
    for (const iovec& part : out) now.append(static_cast<const char*>(part.iov_base), part.iov_len);
    ASSERT_EQ(now, flying) << "bytes in flight moved";
  };
  for (int i = 0; i < 4000; ++i) {
    switch (random.below(6)) {
      case 0: {
        const auto text = some_text(random, 1 + random.below(200));
        queue.push(as_bytes(text), pool);
        model += text;
        break;
      }
      case 1: {
        const auto text = some_text(random, 1 + random.below(SendQueue::kCopyBytesMax));
        std::byte* at   = queue.reserve(static_cast<uint32_t>(text.size()), pool);
        std::memcpy(at, text.data(), text.size());
        model += text;
        break;
      }
      case 2: {
        const auto text = some_text(random, random.below(large));
        shared.push_back(PayloadRef::adopt(Payload::copy(as_bytes(text))));
        queue.push(shared.back(), pool);
        model += text;
        if (random.below(2)) shared.pop_front();
        break;
      }
      case 3: {
        const auto text = some_text(random, random.below(3 * SendQueue::kCopyBytesMax));
        queue.push(as_bytes(text), pool);
        model += text;
        break;
      }
      default:
        if (queue.in_flight() == 0 && !queue.empty()) {
          out = queue.gather(parts);
          ASSERT_FALSE(out.empty());
          flying.clear();
          for (const iovec& part : out)
            flying.append(static_cast<const char*>(part.iov_base), part.iov_len);
          ASSERT_EQ(queue.in_flight(), flying.size());
          ASSERT_EQ(flying, model.substr(0, flying.size()));
        } else if (queue.in_flight() > 0) {
          check_flying();
          const uint64_t kind = random.below(4);
          const auto sent     = static_cast<uint32_t>(kind == 0   ? 0
                                                      : kind == 1 ? flying.size()
                                                                  : random.below(flying.size() + 1));
          queue.consume(sent, pool);
          model.erase(0, sent);
          out = {};
          flying.clear();
          ASSERT_EQ(queue.in_flight(), 0u);
        }
    }
    if (!out.empty()) check_flying();
    ASSERT_EQ(queue.bytes(), model.size());
    ASSERT_EQ(queue.empty(), model.empty());
    if (model.empty()) {
      ASSERT_EQ(pool.out_bytes(), 0u) << "an empty queue owns nothing";
    }
  }
  if (queue.in_flight() > 0) queue.consume(0, pool);
  while (!queue.empty() && random.below(50) != 0) {
    uint32_t bytes = 0;
    for (const iovec& part : queue.gather(parts)) {
      ASSERT_EQ(model.substr(bytes, part.iov_len),
                std::string(static_cast<const char*>(part.iov_base), part.iov_len));
      bytes += static_cast<uint32_t>(part.iov_len);
    }
    queue.consume(bytes, pool);
    model.erase(0, bytes);
  }
  queue.clear(pool);
  EXPECT_EQ(pool.out_bytes(), 0u);
}

TEST(SendQueue, AgainstAString) {
  for (uint64_t seed = 1; seed <= 12; ++seed) random_run(seed, 20'000);
  for (uint64_t seed = 13; seed <= 16; ++seed) random_run(seed, SendQueue::kCopyBytesMax + 2);
}

TEST(SendQueue, ALargePayloadIsSharedASmallOneIsCopied) {
  BlockPool pool;
  SendQueue one, two;
  const std::string big(SendQueue::kCopyBytesMax + 1, 'b'), small(SendQueue::kCopyBytesMax, 's');
  std::array<iovec, SendQueue::kGatherMax> parts;
  {
    auto payload = PayloadRef::adopt(Payload::copy(as_bytes(big)));
    one.push(payload, pool);
    two.push(payload, pool);
    const void* at = payload.bytes().data();
    EXPECT_EQ(one.gather(parts)[0].iov_base, at);
    EXPECT_EQ(two.gather(parts)[0].iov_base, at);
    auto copied = PayloadRef::adopt(Payload::copy(as_bytes(small)));
    one.push(copied, pool);
  }  // the queues hold it now
  one.consume(100, pool);
  const auto again = one.gather(parts);
  EXPECT_EQ(std::string(static_cast<const char*>(again[0].iov_base), again[0].iov_len),
            big.substr(100));
  EXPECT_EQ(std::string(static_cast<const char*>(again[1].iov_base), again[1].iov_len), small);
  one.consume(one.in_flight(), pool);
  two.consume(0, pool);
  two.clear(pool);
  EXPECT_TRUE(one.empty());
  EXPECT_EQ(pool.out_bytes(), 0u);
}

TEST(SendQueue, ManySmallOnesLeaveInFewParts) {
  BlockPool pool;
  SendQueue queue;
  for (int i = 0; i < 100; ++i) queue.push(as_bytes(std::string(50, 'x')), pool);
  std::array<iovec, SendQueue::kGatherMax> parts;
  EXPECT_EQ(queue.gather(parts).size(), 1u) << "5 KB are one block";
  queue.consume(queue.in_flight(), pool);
  EXPECT_EQ(pool.out_bytes(), 0u);

  // More parts than one send takes: the rest waits its turn.
  std::deque<PayloadRef> payloads;
  for (size_t i = 0; i < 2 * SendQueue::kGatherMax + 3; ++i)
    queue.push(PayloadRef::adopt(
                   Payload::copy(as_bytes(std::string(5000, static_cast<char>('a' + i % 26))))),
               pool);
  EXPECT_EQ(queue.gather(parts).size(), SendQueue::kGatherMax);
  EXPECT_EQ(queue.in_flight(), 5000 * SendQueue::kGatherMax);
  queue.consume(queue.in_flight(), pool);
  EXPECT_EQ(queue.bytes(), 5000 * (SendQueue::kGatherMax + 3));
  queue.clear(pool);
  EXPECT_EQ(pool.out_bytes(), 0u);
}

TEST(SendQueue, NothingPushedIsNothingHeld) {
  BlockPool pool;
  SendQueue queue;
  queue.push(Bytes{}, pool);
  queue.push(PayloadRef::adopt(Payload::make(0)), pool);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(pool.out_bytes(), 0u);
  std::array<iovec, SendQueue::kGatherMax> parts;
  EXPECT_TRUE(queue.gather(parts).empty());
  queue.consume(0, pool);
}

TEST(BlockPool, KeepsABoundedNumberOfFreeBlocks) {
  BlockPool pool;
  for (uint8_t size = 0; size < BlockPool::kBlockBytes.size(); ++size) {
    std::vector<void*> out;
    for (uint64_t bytes = 0; bytes < 2 * BlockPool::kKeptBytesMax;
         bytes += BlockPool::kBlockBytes[size])
      out.push_back(pool.take(size));
    EXPECT_EQ(pool.out_bytes(), out.size() * BlockPool::kBlockBytes[size]);
    for (void* block : out) pool.give(block, size);
    EXPECT_EQ(pool.out_bytes(), 0u);
    void* kept = pool.take(size);  // the last one kept comes back first
    EXPECT_NE(std::find(out.begin(), out.end(), kept), out.end());
    pool.give(kept, size);
  }
  EXPECT_EQ(BlockPool::size_for(0), 0);
  EXPECT_EQ(BlockPool::size_for(512), 0);
  EXPECT_EQ(BlockPool::size_for(513), 1);
  EXPECT_EQ(BlockPool::size_for(1 << 30), BlockPool::kBlockBytes.size() - 1);
}

}  // namespace
}  // namespace ringtalk::engine
