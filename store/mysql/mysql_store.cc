#include "store/mysql/mysql_store.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "engine/base/assert.h"
#include "store/mysql/schema.h"

namespace ringtalk::store {

// --- one shard ------------------------------------------------------------------------------------------

MySqlStore::MySqlStore(MySqlStores& owner, uint32_t shard, LoadedShard loaded,
                       engine::Metrics& metrics, Sink& sink)
    : RelationalCalls(owner.relational_.get(), shard),
      owner_(owner),
      sink_(sink),
      conversations_(std::move(loaded.conversations)),
      cursors_(std::move(loaded.cursors)),
      lane_({.worker        = *owner.lanes_[shard],
             .clock         = owner.clock_,
             .sink          = sink,
             .conversations = *conversations_,
             .cursors       = *cursors_,
             .metrics       = metrics,
             .mirror        = owner.mirror_.get(),
             .shard         = shard}) {
  waiting_.reserve(MessageReader::kPagesMax);
  metrics.set(engine::Gauge::store_flush_weak, owner.report_.weak_flush ? 1 : 0);
}

Result<void> MySqlStore::read_page(const PageRequest& request) {
  if (lane_.failed()) return fail(Errc::closed);
  if (owner_.reader_.reading(shard_) + waiting_.size() >= MessageReader::kPagesMax)
    return fail(Errc::full);
  if (const uint64_t batch = lane_.waiting_for(request.conversation); batch != 0) {
    waiting_.push_back({request, batch, owner_.clock_.now_ns() + kPageWaitNs});
    return {};
  }
  return owner_.reader_.read(shard_, request, conversations_->get(request.conversation), sink_);
}

// There is room: waiting ones were counted. A batch that nobody decides (the server takes nothing) is not
// waited for beyond its rows' deadlines: what is durable is shown.
void MySqlStore::start_pages(uint64_t now_ns) {
  decided_ = lane_.decided();
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    if (waiting.batch > decided_ && now_ns < waiting.until_ns) return false;
    const auto started = owner_.reader_.read(
        shard_, waiting.request, conversations_->get(waiting.request.conversation), sink_);
    RT_ASSERT(started.has_value());
    return true;
  });
}

Head MySqlStore::head(ConversationId conversation) const {
  return conversations_->get(conversation).head();
}

void MySqlStore::set_cursor(UserId user, ConversationId conversation, uint32_t msg_id) {
  cursors_->raise({conversation.key, raw(user)}, msg_id);
}

uint32_t MySqlStore::cursor(UserId user, ConversationId conversation) const {
  return cursors_->get({conversation.key, raw(user)});
}

// Unlike the log, whose records are all read at a start, the tables have no index that finds a user's own
// newest message. What a crash catches unwritten the loader finds among the messages of the last minute.
void MySqlStore::note_own(UserId author, ConversationId group, uint32_t msg_id) {
  cursors_->raise({group.key, raw(author)}, msg_id);
}

void MySqlStore::on_turn(uint64_t now_ns) {
  owner_.reader_.collect(shard_);
  relational_->collect(shard_);
  lane_.on_turn(now_ns);
  if (!waiting_.empty() && lane_.decided() != decided_) start_pages(now_ns);
}

void MySqlStore::on_tick(uint64_t now_ns) {
  lane_.on_tick(now_ns);
  if (!waiting_.empty()) start_pages(now_ns);
  if (shard_ == 0) look_around(now_ns);
}

void MySqlStore::look_around(uint64_t now_ns) {
  if (looking_ || now_ns < look_ns_) return;
  look_ns_         = now_ns + kLookNs;
  const auto asked = relational_->look_around(shard_, [this](Result<OutsideChanges> changes) {
    looking_ = false;
    if (changes && owner_.mirror_)
      for (const OutsideGroup& group : changes->groups)
        owner_.mirror_->group_changed(shard_, group.id);
    if (changes && (!changes->users.empty() || !changes->groups.empty()))
      sink_.on_outside_changes(*changes);
  });
  looking_ = asked.has_value();
}

bool MySqlStore::work_waits() const {
  return lane_.results_wait() || owner_.reader_.has_finished(shard_) ||
         relational_->has_finished(shard_);
}

bool MySqlStore::idle() const {
  return lane_.idle() && waiting_.empty() && owner_.reader_.reading(shard_) == 0;
}

Figures MySqlStore::figures() const {
  Figures figures{.waiting       = lane_.waiting(),
                  .commits       = lane_.commits(),
                  .conversations = conversations_->size(),
                  .memory_bytes  = conversations_->memory_bytes() + cursors_->memory_bytes()};
  // What the start did belongs to no shard.
  if (shard_ == 0) figures.repeats_forgotten = owner_.report_.repeats_forgotten;
  return figures;
}

Result<void> MySqlStore::open_conversation(ConversationId conversation, uint32_t time,
                                           Callback<void> done) {
  return relational_->open_conversation(
      shard_, conversation, time,
      [this, conversation, done = std::move(done)](Result<uint32_t> relation) mutable {
        if (!relation) return done(std::unexpected(relation.error()));
        Conversation opened = conversations_->get(conversation);
        opened.relation     = *relation;
        conversations_->set(opened);
        if (owner_.mirror_) owner_.mirror_->opened(shard_, conversation, *relation);
        done({});
      });
}

// --- what Redis has to know ---------------------------------------------------------------------------------

// timeout: it may have been written; the mirror asks what is true.
template <class T, class Tell>
Callback<T> MySqlStore::telling(Callback<T> done, Tell tell) {
  if (!owner_.mirror_) return done;
  return [mirror = owner_.mirror_.get(), tell = std::move(tell),
          done = std::move(done)](Result<T> result) mutable {
    if (result || result.error().code == Errc::timeout) tell(*mirror, result);
    done(std::move(result));
  };
}

Result<void> MySqlStore::add_group(NewGroup group, Callback<Group> done) {
  return RelationalCalls::add_group(
      std::move(group),
      telling<Group>(std::move(done), [shard = shard_](redis::Mirror& mirror, const auto& made) {
        if (made) mirror.group_changed(shard, made->id);
      }));
}

Result<void> MySqlStore::dismiss_group(GroupId id, Callback<void> done) {
  return RelationalCalls::dismiss_group(
      id, telling<void>(std::move(done), [shard = shard_, id](redis::Mirror& mirror, const auto&) {
        mirror.group_changed(shard, id);
      }));
}

Result<void> MySqlStore::change_members(MemberChange change, Callback<MembersChanged> done) {
  constexpr size_t kFew = 16;  // beyond that the group is read as a whole
  std::vector<UserId> users;
  if (change.users.size() <= kFew) users = change.users;
  return RelationalCalls::change_members(
      std::move(change),
      telling<MembersChanged>(std::move(done),
                              [shard = shard_, group = change.group, users = std::move(users)](
                                  redis::Mirror& mirror, const auto&) {
                                if (users.empty()) mirror.group_changed(shard, group);
                                for (const UserId user : users)
                                  mirror.member_changed(shard, group, user);
                              }));
}

Result<void> MySqlStore::mute_group(UserId user, GroupId group, bool muted, Callback<void> done) {
  return RelationalCalls::mute_group(
      user, group, muted,
      telling<void>(std::move(done),
                    [shard = shard_, user, group](redis::Mirror& mirror, const auto&) {
                      mirror.member_changed(shard, group, user);
                    }));
}

Result<void> MySqlStore::set_push_token(UserId user, PushToken token, Callback<void> done) {
  if (!owner_.mirror_ || !relational_)
    return RelationalCalls::set_push_token(user, std::move(token), std::move(done));
  auto told = telling<std::vector<UserId>>(
      [done = std::move(done)](Result<std::vector<UserId>> had) mutable {
        if (!had) return done(std::unexpected(had.error()));
        done({});
      },
      [shard = shard_, user](redis::Mirror& mirror, const Result<std::vector<UserId>>& had) {
        mirror.token_changed(shard, user);
        if (!had) return;
        for (const UserId other : *had) mirror.token_changed(shard, other);
      });
  return relational_->take_push_token(shard_, user, std::move(token), std::move(told));
}

Result<void> MySqlStore::clear_push_token(UserId user, Callback<void> done) {
  return RelationalCalls::clear_push_token(
      user,
      telling<void>(std::move(done), [shard = shard_, user](redis::Mirror& mirror, const auto&) {
        mirror.token_changed(shard, user);
      }));
}

// --- the process ----------------------------------------------------------------------------------------

sql::Answer<std::unique_ptr<MySqlStores>> MySqlStores::open(const Options& options,
                                                            engine::Clock& clock) {
  const uint64_t began = clock.now_ns();
  auto connection      = options.master();
  if (!connection) return std::unexpected(connection.error());
  auto seen = sql::inspect(**connection);
  if (!seen) return std::unexpected(seen.error());
  if (std::string why = sql::ready(*seen); !why.empty())
    return std::unexpected(sql::Trouble{sql::Fault::no_such, 0, std::move(why)});
  auto loaded = load_messages(**connection, options.homes, options.node, clock);
  if (!loaded) return std::unexpected(loaded.error());
  auto relational = MySqlRelational::open(
      {.connect = options.master, .shards = options.homes.shards, .readers = options.connections},
      clock);
  if (!relational)
    return std::unexpected(sql::Trouble{sql::Fault::other, 0,
                                        "users and groups cannot be read: see the server's log"});
  std::unique_ptr<MySqlStores> stores(
      new MySqlStores(options, std::move(*relational), clock, std::move(*loaded)));
  stores->report_.weak_flush  = seen->flush != 1;
  stores->report_.duration_ns = clock.now_ns() - began;
  return stores;
}

MySqlStores::MySqlStores(const Options& options, std::unique_ptr<MySqlRelational> relational,
                         engine::Clock& clock, LoadedMessages loaded)
    : options_(options),
      relational_(std::move(relational)),
      clock_(clock),
      loaded_(std::move(loaded)),
      reader_({.master      = options.master,
               .replica     = options.replica,
               .shards      = options.homes.shards,
               .connections = options.connections},
              clock) {
  for (uint32_t i = 0; i < options.homes.shards; ++i) {
    const LoadedShard& shard = loaded_.shards[i];
    lanes_.push_back(std::make_unique<LaneWorker>(options.master, clock, lane_of(options.node, i),
                                                  shard.batch_no));
    report_.conversations += shard.conversations->size();
    report_.cursors += shard.cursors->size();
    report_.repeats += shard.repeats.size();
  }
  report_.repeats_forgotten = loaded_.repeats_forgotten;
  if (!options.redis) return;
  mirror_metrics_ = std::make_unique<engine::Metrics>();
  mirror_rows_    = std::make_unique<MirrorRows>(options.master, clock);
  mirror_ =
      std::make_unique<redis::Mirror>(redis::Mirror::Options{.shards  = options.homes.shards,
                                                             .pools   = *options.redis,
                                                             .connect = options.connect_redis},
                                      *mirror_rows_, clock, random_, *mirror_metrics_);
}

MySqlStores::~MySqlStores() = default;

Result<std::vector<UserState>> MySqlStores::load_user_states() {
  return relational_->load_user_states();
}

void MySqlStores::set_bell(uint32_t shard, engine::Bell* bell) {
  lanes_[shard]->set_bell(0, bell);
  reader_.set_bell(shard, bell);
  relational_->set_bell(shard, bell);
}

void MySqlStores::start() {
  for (const auto& lane : lanes_) lane->start("mysql-lane");
  reader_.start();
  relational_->start();
  if (mirror_) mirror_->start();
}

std::unique_ptr<Store> MySqlStores::make(uint32_t shard, engine::Ring&, engine::Metrics& metrics,
                                         Sink& sink) {
  LoadedShard& loaded = loaded_.shards[shard];
  RT_ASSERT(loaded.conversations != nullptr);
  if (mirror_) mirror_->attach(shard, &metrics);
  return std::unique_ptr<Store>(new MySqlStore(
      *this, shard,
      {.conversations = std::move(loaded.conversations), .cursors = std::move(loaded.cursors)},
      metrics, sink));
}

std::vector<Repeat> MySqlStores::take_repeats(uint32_t shard) {
  return std::move(loaded_.shards[shard].repeats);
}

Result<void> MySqlStores::close() {
  for (const auto& lane : lanes_) lane->stop();
  reader_.stop();
  relational_->stop();
  if (mirror_) mirror_->stop();
  return {};
}

uint32_t MySqlStores::run_workers() {
  uint32_t count = reader_.run_some();
  for (const auto& lane : lanes_) count += lane->run_some();
  count += relational_->run_some();
  if (mirror_) mirror_->run_some();
  return count;
}

}  // namespace ringtalk::store
