#include "store/embedded/embedded_store.h"

#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "engine/base/assert.h"

namespace ringtalk::store {

// --- one shard ------------------------------------------------------------------------------------------

EmbeddedStore::EmbeddedStore(EmbeddedStores& owner, uint32_t shard,
                             std::unique_ptr<ShardState> state, std::optional<Segment> current,
                             engine::Ring& ring, engine::Metrics& metrics, Sink& sink)
    : RelationalCalls(owner.options_.relational, shard),
      owner_(owner),
      sink_(sink),
      state_(std::move(state)),
      tails_(std::max(kTailsMin, kTailsMax / owner.options_.homes.shards)),
      supply_(*owner.recovered_.worker, shard),
      files_(owner.opener_, shard, kFilesMax),
      reader_(ring, files_),
      commit_({.ring          = ring,
               .clock         = owner.clock_,
               .sink          = sink,
               .heads         = state_->heads,
               .cursors       = state_->cursors,
               .tails         = tails_,
               .supply        = supply_,
               .listener      = *this,
               .metrics       = metrics,
               .salt          = owner.recovered_.salt,
               .segment_bytes = owner.recovered_.segment_bytes},
              current),
      pages_(reader_, owner.opener_, shard, sink, salt_sum(owner.recovered_.salt)),
      builder_(reader_, state_->heads, tails_, salt_sum(owner.recovered_.salt)) {
  waiting_.reserve(PageReader::kPagesMax);
  if (current) files_.lend(current->number, current->fd);
  supply_.prepare();
}

EmbeddedStore::~EmbeddedStore() {
  // Otherwise close() reads what was written.
  if (commit_.idle() && !commit_.failed()) {
    const std::lock_guard lock(owner_.left_mutex_);
    if (commit_.current_segment() != 0) owner_.left_.push_back(commit_.leave());
    if (supply_.spare_number() != 0)
      owner_.left_.push_back({.number = supply_.spare_number(), .footer = {}, .scan = {}});
  }
  if (commit_.current_fd() >= 0) owner_.disk_.close(commit_.current_fd());
}

void EmbeddedStore::on_rolled(Segment left, Segment current) {
  if (left.number != 0) files_.own(left.number);
  files_.lend(current.number, current.fd);
}

Result<void> EmbeddedStore::read_page(const PageRequest& request) {
  if (commit_.failed()) return fail(Errc::closed);
  if (pages_.count() + waiting_.size() >= PageReader::kPagesMax) return fail(Errc::full);
  if (const uint64_t batch = commit_.waiting_for(request.conversation.key); batch != 0)
    waiting_.push_back({request, batch});
  else
    start_page(request);
  return {};
}

void EmbeddedStore::start_page(const PageRequest& request) {
  uint32_t hint        = 0;
  const HeadEntry head = state_->heads.get(request.conversation.key, &hint);
  pages_.start(request, head, tails_.get(hint, request.conversation.key));
}

void EmbeddedStore::start_pages(uint64_t committed) {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    // The second case: what it waited for was refused.
    if (waiting.batch > committed && commit_.waiting_for(waiting.request.conversation.key) != 0)
      return false;
    start_page(waiting.request);
    return true;
  });
}

void EmbeddedStore::on_committed(uint64_t batch) {
  committed_ = batch;
  start_pages(batch);
}

Head EmbeddedStore::head(ConversationId conversation) const {
  const HeadEntry entry = state_->heads.get(conversation.key);
  return {entry.msg_id, entry.time, entry.small_count, entry.hidden};
}

void EmbeddedStore::set_cursor(UserId user, ConversationId conversation, uint32_t msg_id) {
  state_->cursors.raise({conversation.key, raw(user)}, msg_id);
}

uint32_t EmbeddedStore::cursor(UserId user, ConversationId conversation) const {
  return state_->cursors.get({conversation.key, raw(user)});
}

void EmbeddedStore::note_own(UserId author, ConversationId group, uint32_t msg_id) {
  state_->cursors.load({group.key, raw(author)}, msg_id);
}

void EmbeddedStore::on_turn(uint64_t now_ns) {
  owner_.recovered_.worker->collect(shard_);
  owner_.opener_.collect(shard_);
  collect_relational();
  builder_.on_turn(commit_);
  pages_.on_turn();
  commit_.on_turn(now_ns);
}

void EmbeddedStore::collect_relational() {
  if (relational_ == nullptr) return;
  const Error failure = relational_->failure();
  if (failure.code != Errc::ok && !std::exchange(relational_failed_, true))
    sink_.on_failed(failure);
  relational_->collect(shard_);
}

void EmbeddedStore::on_tick(uint64_t now_ns) {
  commit_.on_tick(now_ns);
  if (!waiting_.empty()) start_pages(committed_);
}

bool EmbeddedStore::work_waits() const {
  return commit_.results_wait() || owner_.recovered_.worker->has_finished(shard_) ||
         owner_.opener_.has_finished(shard_) ||
         (relational_ && relational_->has_finished(shard_)) ||
         (pages_.waits() && reader_.reading() == 0);
}

bool EmbeddedStore::idle() const {
  return commit_.idle() && pages_.idle() && waiting_.empty() &&
         (builder_.idle() || supply_.out_of_space());
}

Figures EmbeddedStore::figures() const {
  Figures figures{.waiting       = commit_.waiting(),
                  .commits       = commit_.commits(),
                  .conversations = state_->heads.size(),
                  .memory_bytes  = state_->heads.memory_bytes() + state_->cursors.memory_bytes() +
                                  tails_.memory_bytes(),
                  .blocks_forgotten = builder_.forgotten()};
  // What recovery did belongs to no shard.
  if (shard_ == 0) figures.repeats_forgotten = owner_.report().repeats_forgotten;
  return figures;
}

Result<void> EmbeddedStore::open_conversation(ConversationId conversation, uint32_t time,
                                              Callback<void> done) {
  if (!relational_) return fail(Errc::unsupported);
  return relational_->open_conversation(shard_, conversation, time, std::move(done));
}

// --- the process ----------------------------------------------------------------------------------------------

EmbeddedStores::EmbeddedStores(const Options& options, engine::Disk& disk, engine::Clock& clock,
                               DirectoryLock lock, Recovered recovered)
    : options_(options),
      disk_(disk),
      clock_(clock),
      lock_(std::move(lock)),
      recovered_(std::move(recovered)),
      opener_(disk, options.homes.shards),
      first_(options.homes.shards) {}

Result<std::unique_ptr<EmbeddedStores>> EmbeddedStores::open(const Options& options,
                                                             engine::Disk& disk,
                                                             engine::Clock& clock) {
  DirectoryLock lock;
  if (!options.directory.empty()) {
    auto taken = DirectoryLock::take(options.directory);
    if (!taken) return std::unexpected(taken.error());
    lock = std::move(*taken);
  }
  RecoverySettings settings{
      .homes = options.homes, .segment_bytes = options.segment_bytes, .fresh_salt = options.seed};
  if (settings.fresh_salt == 0 && ::getrandom(&settings.fresh_salt, sizeof settings.fresh_salt,
                                              0) != sizeof settings.fresh_salt)
    return fail_os(EIO);
  auto recovered = recover(disk, clock, settings);
  if (!recovered) return std::unexpected(recovered.error());
  std::unique_ptr<EmbeddedStores> stores(
      new EmbeddedStores(options, disk, clock, std::move(lock), std::move(*recovered)));
  // On a full disk a shard starts without one: it reads, refuses sends, and tries again every second.
  for (uint32_t shard = 0; shard < options.homes.shards; ++shard)
    if (auto made = stores->recovered_.worker->create(shard)) stores->first_[shard] = *made;
  return stores;
}

EmbeddedStores::~EmbeddedStores() {
  opener_.stop();
  recovered_.worker->stop();
  for (const auto& segment : first_)
    if (segment) disk_.close(segment->fd);
}

std::unique_ptr<EmbeddedStore> EmbeddedStores::make(uint32_t shard, engine::Ring& ring,
                                                    engine::Metrics& metrics, Sink& sink) {
  RT_ASSERT(shard < first_.size() && recovered_.shards[shard]);
  return std::unique_ptr<EmbeddedStore>(
      new EmbeddedStore(*this, shard, std::move(recovered_.shards[shard]),
                        std::exchange(first_[shard], {}), ring, metrics, sink));
}

std::vector<Repeat> EmbeddedStores::take_repeats(uint32_t shard) {
  RT_ASSERT(shard < recovered_.repeats.size());
  return std::move(recovered_.repeats[shard]);
}

void EmbeddedStores::set_bell(uint32_t shard, engine::Bell* bell) {
  opener_.set_bell(shard, bell);
  recovered_.worker->set_bell(shard, bell);
}

void EmbeddedStores::start() {
  opener_.start("rt-open");
  recovered_.worker->start("rt-segments", kWorkerNice);
}

uint32_t EmbeddedStores::run_workers() {
  return opener_.run_some() + recovered_.worker->run_some();
}

Result<void> EmbeddedStores::close() {
  opener_.stop();
  recovered_.worker->stop();
  // One that fails is tried again by seal_all(), which reads it.
  for (LeftSegment& left : left_) (void)recovered_.worker->seal(std::move(left));
  left_.clear();
  return recovered_.worker->seal_all();
}

}  // namespace ringtalk::store
