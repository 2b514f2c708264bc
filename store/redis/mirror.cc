#include "store/redis/mirror.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/assert.h"
#include "engine/log.h"
#include "store/redis/rows.h"

namespace ringtalk::store::redis {
namespace {

constexpr uint64_t kSourceWaitNs = kNsPerS;  // after the source failed
constexpr int kNice = 5;  // it gives way to shards and to workers that somebody waits for

template <class K>
std::vector<K> some_of(const boost::unordered_flat_set<K>& keys) {
  std::vector<K> some;
  for (auto key = keys.begin(); key != keys.end() && some.size() < kSourceKeysMax; ++key)
    some.push_back(*key);
  return some;
}

}  // namespace

Mirror::Mirror(const Options& options, MirrorSource& source, engine::Clock& clock,
               engine::Random& random, engine::Metrics& metrics)
    : options_(options),
      source_(source),
      clock_(clock),
      metrics_(metrics),
      outlet_(options.pools, {options.connect, clock, metrics, random.next()}),
      rebuild_(source) {
  for (uint32_t i = 0; i < options.shards; ++i)
    lanes_.push_back(std::make_unique<Lane>(options.lane_events));
}

Mirror::~Mirror() { stop(); }

// --- shards ---------------------------------------------------------------------------------------------------

void Mirror::opened(uint32_t from, ConversationId pair, uint32_t relation) {
  tell(from, {.conversation = pair, .relation = relation, .kind = Event::Kind::opened});
}

void Mirror::stored(uint32_t from, ConversationId conversation, uint32_t relation, UserId author,
                    uint32_t msg_id) {
  tell(from, {.conversation = conversation,
              .user         = raw(author),
              .msg_id       = msg_id,
              .relation     = relation,
              .kind         = Event::Kind::stored});
}

void Mirror::read_to(uint32_t from, UserId user, ConversationId conversation, uint32_t msg_id) {
  tell(from, {.conversation = conversation,
              .user         = raw(user),
              .msg_id       = msg_id,
              .kind         = Event::Kind::read_to});
}

void Mirror::group_changed(uint32_t from, GroupId group) {
  tell(from, {.conversation = ConversationId::group(group), .kind = Event::Kind::group});
}

void Mirror::member_changed(uint32_t from, GroupId group, UserId user) {
  tell(from, {.conversation = ConversationId::group(group),
              .user         = raw(user),
              .kind         = Event::Kind::member});
}

void Mirror::token_changed(uint32_t from, UserId user) {
  tell(from, {.user = raw(user), .kind = Event::Kind::token});
}

void Mirror::tell(uint32_t from, const Event& event) {
  Lane& lane = *lanes_[from];
  if (!lane.queue.push(event) && lane.metrics) lane.metrics->add(engine::Counter::redis_forgotten);
}

// --- one round ------------------------------------------------------------------------------------------------

bool Mirror::run_some() {
  drain();
  outlet_.tend();
  notice_loss();
  const bool asked   = ask_pairs();
  const bool flushed = flush();
  const bool written = flushed && write_members() && write_groups();
  const bool told    = write_users();
  bool rebuilt       = false;
  if (asked && written && told) rebuilt = advance_rebuild();
  if (changes_.size() > options_.changes_max) forget();
  notice_loss();
  show();
  return rebuilt || (asked && written && told && !changes_.empty());
}

// What was written so far may be gone, whatever the rebuild has written included.
void Mirror::notice_loss() {
  if (!outlet_.take_loss()) return;
  due_ = true;
  rebuild_.abort();
}

void Mirror::drain() {
  const uint64_t now = clock_.now_ns();
  if (changes_.empty()) told_ns_ = now;
  bool forgotten = false;
  for (const auto& lane : lanes_) {
    Event event;
    for (uint32_t n = 0; n < options_.lane_events && lane->queue.pop(event); ++n) {
      if (event.kind == Event::Kind::forgotten)
        forgotten = true;
      else
        changes_.take(event, now);
    }
  }
  if (forgotten) forget();
  if (distrust_) changes_.distrust(now);
}

// What was told is not known any more: everything is written anew. A rebuild that is running goes on, and is
// repeated: if it began anew each time, a mirror that cannot keep up would never come to its end.
void Mirror::forget() {
  changes_.forget(clock_.now_ns());
  due_      = true;
  distrust_ = true;
}

bool Mirror::source_fails(const Error& error) {
  if (!std::exchange(source_away_, true))
    engine::log::warn("redis_mirror_waits", {{"cause", "the store cannot be read"},
                                             {"code", static_cast<uint32_t>(error.code)}});
  source_at_ns_ = clock_.now_ns() + kSourceWaitNs;
  return false;
}

bool Mirror::ask_pairs() {
  if (changes_.pairs.empty()) return true;
  if (!outlet_.ready(Pool::unread) || clock_.now_ns() < source_at_ns_) return false;
  for (uint32_t n = 0; n < kAsksMax && !changes_.pairs.empty(); ++n) {
    const std::vector<uint64_t> keys = some_of(changes_.pairs);
    std::vector<ConversationId> pairs;
    for (const uint64_t key : keys) pairs.push_back({key});
    const auto rows = source_.find_pairs(pairs);
    if (!rows) return source_fails(rows.error());
    for (const PairRow& row : *rows) changes_.answer(row);
    for (const uint64_t key : keys) changes_.pairs.erase(key);
  }
  source_away_ = false;
  return true;
}

// What has a value. All of it is sent again if a part was not taken.
bool Mirror::flush() {
  if (!outlet_.ready(Pool::unread)) return false;
  const auto sent = [&] { return outlet_.commands() < kPipelineMax || outlet_.send(); };
  for (const auto& [relation, newest] : changes_.pair_heads) {
    put_pair_head(outlet_, relation, newest);
    if (!sent()) return false;
  }
  for (const auto& [group, newest] : changes_.group_heads) {
    put_group_head(outlet_, GroupId(group), newest);
    if (!sent()) return false;
  }
  for (const auto& [key, count] : changes_.unread) {
    put_unread(outlet_, UserId(key >> 32), UserId(key & 0xffffffffu), count);
    if (!sent()) return false;
  }
  for (const auto& [key, position] : changes_.positions) {
    put_position(outlet_, member_of(key), position);
    if (!sent()) return false;
  }
  if (!outlet_.send()) return false;
  changes_.pair_heads.clear();
  changes_.group_heads.clear();
  changes_.unread.clear();
  changes_.positions.clear();
  return true;
}

bool Mirror::write_members() {
  if (changes_.members.empty()) return true;
  if (!outlet_.ready() || clock_.now_ns() < source_at_ns_) return false;
  for (uint32_t n = 0; n < kAsksMax && !changes_.members.empty(); ++n) {
    const std::vector<uint64_t> keys = some_of(changes_.members);
    std::vector<MemberKey> members;
    for (const uint64_t key : keys) members.push_back(member_of(key));
    const auto rows = source_.find_members(members);
    if (!rows) return source_fails(rows.error());
    for (const MemberRow& row : *rows) put(outlet_, row);
    if (!outlet_.send()) return false;
    for (const MemberRow& row : *rows) changes_.wrote(row, clock_.now_ns());
    for (const uint64_t key : keys) changes_.members.erase(key);
  }
  source_away_ = false;
  return true;
}

bool Mirror::write_groups() {
  if (changes_.groups.empty()) return true;
  if (!outlet_.ready() || clock_.now_ns() < source_at_ns_) return false;
  for (const uint32_t group :
       std::vector<uint32_t>(changes_.groups.begin(), changes_.groups.end())) {
    if (!write_group(GroupId(group))) return false;
    changes_.groups.erase(group);
  }
  source_away_ = false;
  return true;
}

bool Mirror::write_group(GroupId group) {
  const auto heads = source_.groups(GroupId(raw(group) - 1), 1);
  if (!heads) return source_fails(heads.error());
  if (!heads->empty() && heads->front().group == group) put(outlet_, heads->front());
  for (MemberKey after{group, UserId(0)};;) {
    const auto rows = source_.members(after, Rebuild::kSliceRows);
    if (!rows) return source_fails(rows.error());
    const auto end =
        std::ranges::find_if(*rows, [&](const MemberRow& row) { return row.key.group != group; });
    for (auto row = rows->begin(); row != end; ++row) put(outlet_, *row);
    if (!outlet_.send()) return false;
    for (auto row = rows->begin(); row != end; ++row) changes_.wrote(*row, clock_.now_ns());
    if (end != rows->end() || rows->size() < Rebuild::kSliceRows) return true;
    after = rows->back().key;
  }
}

bool Mirror::write_users() {
  if (changes_.users.empty()) return true;
  if (!outlet_.ready(Pool::token) || clock_.now_ns() < source_at_ns_) return false;
  for (uint32_t n = 0; n < kAsksMax && !changes_.users.empty(); ++n) {
    const std::vector<uint32_t> keys = some_of(changes_.users);
    std::vector<UserId> users;
    for (const uint32_t key : keys) users.push_back(UserId(key));
    const auto rows = source_.find_tokens(users);
    if (!rows) return source_fails(rows.error());
    if (!write_tokens(outlet_, *rows)) return false;
    for (const uint32_t key : keys) changes_.users.erase(key);
  }
  source_away_ = false;
  return true;
}

// True: it got on, and may go on at once.
bool Mirror::advance_rebuild() {
  if (!outlet_.ready() || clock_.now_ns() < source_at_ns_) return false;
  if (!rebuild_.running()) {
    if (!due_) return false;
    if (const auto started = rebuild_.start(); !started) return source_fails(started.error());
    due_ = false;
    metrics_.add(engine::Counter::redis_rebuilds);
    engine::log::info("redis_rebuild_begins", {{"rows", rebuild_.total()}});
  }
  const auto stepped =
      rebuild_.step(outlet_, changes_, static_cast<uint32_t>(clock_.wall_ns() / kNsPerS));
  if (!stepped) return source_fails(stepped.error());
  source_away_ = false;
  if (!rebuild_.running()) {
    if (!due_) distrust_ = false;
    engine::log::info("redis_rebuild_ends", {{"rows", rebuild_.done()}});
  }
  return *stepped;
}

bool Mirror::settled() const {
  return changes_.empty() && !due_ && !rebuild_.running() && outlet_.ready() &&
         std::ranges::all_of(lanes_, [](const auto& lane) { return lane->queue.empty(); });
}

void Mirror::show() {
  using engine::Gauge;
  metrics_.set(Gauge::redis_connected, outlet_.ready() ? 1 : 0);
  metrics_.set(Gauge::redis_changes, static_cast<int64_t>(changes_.size()));
  metrics_.set(Gauge::redis_lag,
               changes_.empty() ? 0 : static_cast<int64_t>(clock_.now_ns() - told_ns_));
  metrics_.set(Gauge::redis_rebuild_due, due_ || rebuild_.running() ? 1 : 0);
  metrics_.set(Gauge::redis_rebuild_done, static_cast<int64_t>(rebuild_.done()));
  metrics_.set(Gauge::redis_rebuild_total, static_cast<int64_t>(rebuild_.total()));
}

// --- thread ---------------------------------------------------------------------------------------------------

void Mirror::start() {
  RT_ASSERT(!thread_.joinable());
  thread_ = std::thread([this] {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
    loop();
  });
  pthread_setname_np(thread_.native_handle(), "rt-redis");
}

void Mirror::loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const bool more = run_some();
    lock.lock();
    // Shards do not ring: a bell would cost them more than the few milliseconds are worth.
    if (!more && !stopping_) bell_.wait_for(lock, std::chrono::milliseconds(kRoundMs));
  }
}

void Mirror::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  bell_.notify_one();
  thread_.join();
  run_some();
}

}  // namespace ringtalk::store::redis
