#include "store/mysql/mysql_relational.h"

#include <algorithm>
#include <utility>

#include "engine/base/units.h"
#include "store/mysql/queries.h"

namespace ringtalk::store {

static_assert(MySqlRelational::kUsersPerStampMax == queries::kUsersPerStampMax);
static_assert(MySqlRelational::kListMax == queries::kListMax);

// --- opening ---------------------------------------------------------------------------------------------

MySqlRelational::MySqlRelational(Options options, engine::Clock& clock)
    : options_(std::move(options)), clock_(clock) {
  const auto reader = [this] {
    return std::make_unique<RelationalReader>(options_.connect, clock_, options_.shards,
                                              options_.jobs_max);
  };
  writer_ = std::make_unique<RelationalWriter>(options_.connect, clock_, options_.shards,
                                               options_.jobs_max, kBatchMax, options_.lane);
  for (uint32_t i = 0; i < options_.readers; ++i) readers_.push_back(reader());
  looker_ = reader();
}

MySqlRelational::~MySqlRelational() { stop(); }

Result<std::unique_ptr<MySqlRelational>> MySqlRelational::open(Options options,
                                                               engine::Clock& clock) {
  constexpr int kAttempts = 10;  // several processes may start at once
  std::unique_ptr<MySqlRelational> made(new MySqlRelational(std::move(options), clock));
  Result<void> ok;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    ok = made->writer_->open();
    if (ok) ok = queries::take_over(made->writer_->link(), made->now_s());
    if (ok) return made;
    if (made->writer_->link().fault() != sql::Fault::conflict) break;
  }
  return std::unexpected(ok.error());
}

Result<std::vector<UserState>> MySqlRelational::load_user_states() {
  constexpr std::string_view kStates =
      "SELECT id, status FROM IMUser WHERE id > ? ORDER BY id LIMIT 20000";
  Link& link = writer_->link();
  if (auto opened = link.open(); !opened) return std::unexpected(opened.error());
  std::vector<UserState> states;
  for (uint64_t after = 0;; after = raw(states.back().id)) {
    const auto rows = link.query(kStates, {after});
    if (!rows) return std::unexpected(rows.error());
    if (rows->empty()) return states;
    for (size_t row = 0; row < rows->size(); ++row)
      states.push_back({UserId(static_cast<uint32_t>(rows->number(row, 0))),
                        static_cast<uint8_t>(rows->number(row, 1))});
  }
}

Result<std::vector<Relation>> MySqlRelational::load_relations() {
  constexpr std::string_view kRelations =
      "SELECT id, smallId, bigId FROM IMRelationShip WHERE id > ? ORDER BY id LIMIT 20000";
  Link& link = writer_->link();
  if (auto opened = link.open(); !opened) return std::unexpected(opened.error());
  std::vector<Relation> relations;
  for (uint64_t after = 0;; after = relations.back().id) {
    const auto rows = link.query(kRelations, {after});
    if (!rows) return std::unexpected(rows.error());
    if (rows->empty()) return relations;
    for (size_t row = 0; row < rows->size(); ++row)
      relations.push_back({static_cast<uint32_t>(rows->number(row, 0)),
                           UserId(static_cast<uint32_t>(rows->number(row, 1))),
                           UserId(static_cast<uint32_t>(rows->number(row, 2)))});
  }
}

// --- workers ---------------------------------------------------------------------------------------------

template <class Do>
void MySqlRelational::each_worker(Do&& act) const {
  act(static_cast<engine::Worker&>(*writer_));
  for (const auto& reader : readers_) act(static_cast<engine::Worker&>(*reader));
  act(static_cast<engine::Worker&>(*looker_));
}

void MySqlRelational::set_bell(uint32_t shard, engine::Bell* bell) {
  each_worker([&](engine::Worker& worker) { worker.set_bell(shard, bell); });
}

void MySqlRelational::start() {
  writer_->start("mysql_write");
  for (const auto& reader : readers_) reader->start("mysql_read");
  looker_->start("mysql_look");
}

void MySqlRelational::stop() {
  each_worker([](engine::Worker& worker) { worker.stop(); });
}

uint32_t MySqlRelational::run_some() {
  uint32_t jobs = 0;
  each_worker([&](engine::Worker& worker) { jobs += worker.run_some(); });
  return jobs;
}

uint32_t MySqlRelational::collect(uint32_t shard) {
  uint32_t calls = 0;
  each_worker([&](engine::Worker& worker) { calls += worker.collect(shard); });
  return calls;
}

bool MySqlRelational::has_finished(uint32_t shard) const {
  bool finished = false;
  each_worker([&](const engine::Worker& worker) { finished |= worker.has_finished(shard); });
  return finished;
}

MySqlRelational::Figures MySqlRelational::figures() const {
  const RelationalWriter::Figures& of_writer = writer_->figures();
  Figures figures{.connects  = of_writer.connects + looker_->connects(),
                  .conflicts = of_writer.conflicts,
                  .unknown   = of_writer.unknown,
                  .commits   = of_writer.commits,
                  .calls     = of_writer.calls};
  for (const auto& reader : readers_) figures.connects += reader->connects();
  return figures;
}

// --- calls -----------------------------------------------------------------------------------------------

template <class T, class Work>
Result<void> MySqlRelational::read_by(RelationalReader& reader, uint32_t shard, Work work,
                                      Callback<T> done) {
  using Call = RelationalCall<RelationalReader::Call, RelationalReader, T, Work>;
  std::unique_ptr<engine::Job> job =
      std::make_unique<Call>(reader, std::move(work), std::move(done));
  reader.add_load();
  auto submitted = reader.submit(shard, job);
  if (!submitted) reader.drop_load();
  return submitted;
}

// The one with the least to do: a slow call holds up only what is behind it.
template <class T, class Work>
Result<void> MySqlRelational::read(uint32_t shard, Work work, Callback<T> done) {
  const auto idlest =
      std::ranges::min_element(readers_, {}, [](const auto& reader) { return reader->load(); });
  return read_by<T>(**idlest, shard, std::move(work), std::move(done));
}

template <class T, class Work>
Result<void> MySqlRelational::write(uint32_t shard, Work work, Callback<T> done) {
  using Call = RelationalCall<RelationalWriter::Call, RelationalWriter, T, Work>;
  std::unique_ptr<engine::Job> job =
      std::make_unique<Call>(*writer_, std::move(work), std::move(done));
  return writer_->submit(shard, job);
}

Result<void> MySqlRelational::look_around(uint32_t shard, Callback<OutsideChanges> done) {
  half_ ^= 1;
  auto found = [this, shard, done = std::move(done)](Result<queries::Suspects> suspects) mutable {
    if (!suspects) return done(std::unexpected(suspects.error()));
    if (suspects->empty()) return done(OutsideChanges{});
    auto shared      = std::make_shared<Callback<OutsideChanges>>(std::move(done));
    const auto asked = write<OutsideChanges>(
        shard,
        [this, suspects = std::move(*suspects)](Link& link) {
          return queries::take_in(link, suspects, now_s());
        },
        [shared](Result<OutsideChanges> changes) { (*shared)(std::move(changes)); });
    if (!asked) (*shared)(std::unexpected(asked.error()));  // another time
  };
  return read_by<queries::Suspects>(
      *looker_, shard, [half = half_](Link& link) { return queries::find_suspects(link, half); },
      std::move(found));
}

Result<void> MySqlRelational::find_account(uint32_t shard, std::string_view name,
                                           Callback<Account> done) {
  return read<Account>(
      shard, [name = std::string(name)](Link& link) { return queries::find_account(link, name); },
      std::move(done));
}

Result<void> MySqlRelational::find_user(uint32_t shard, UserId id, Callback<User> done) {
  return read<User>(
      shard, [id](Link& link) { return queries::find_user(link, id); }, std::move(done));
}

Result<void> MySqlRelational::add_users(uint32_t shard, std::vector<NewUser> users,
                                        Callback<std::vector<User>> done) {
  if (users.size() > kUsersPerCallMax) return fail(Errc::too_large);
  return write<std::vector<User>>(
      shard,
      [this, users = std::move(users)](Link& link) {
        return queries::add_users(link, users, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::list_users(uint32_t shard, UserId after, uint32_t limit,
                                         Callback<std::vector<User>> done) {
  return read<std::vector<User>>(
      shard, [after, limit](Link& link) { return queries::list_users(link, after, limit); },
      std::move(done));
}

Result<void> MySqlRelational::upgrade_password(uint32_t shard, UserId id, uint32_t epoch,
                                               std::string argon2id, Callback<void> done) {
  return write<void>(
      shard,
      [id, epoch, argon2id = std::move(argon2id)](Link& link) {
        return queries::upgrade_password(link, id, epoch, argon2id);
      },
      std::move(done));
}

Result<void> MySqlRelational::open_conversation(uint32_t shard, ConversationId conversation,
                                                uint32_t time, Callback<uint32_t> done) {
  if (conversation.is_group()) return fail(Errc::unsupported);
  const UserId small = conversation.small(), big = conversation.big();
  return write<uint32_t>(
      shard,
      [small, big, time](Link& link) { return queries::open_conversation(link, small, big, time); },
      std::move(done));
}

Result<void> MySqlRelational::find_user_by_name(uint32_t shard, std::string_view name,
                                                Callback<User> done) {
  return read<User>(
      shard,
      [name = std::string(name)](Link& link) { return queries::find_user_by_name(link, name); },
      std::move(done));
}

Result<void> MySqlRelational::find_users(uint32_t shard, std::vector<UserId> ids,
                                         Callback<std::vector<User>> done) {
  if (ids.size() > kUsersAskedMax) return fail(Errc::too_large);
  return read<std::vector<User>>(
      shard, [ids = std::move(ids)](Link& link) { return queries::find_users(link, ids); },
      std::move(done));
}

Result<void> MySqlRelational::list_users_since(uint32_t shard, uint64_t stamp, uint32_t limit,
                                               Callback<UserPage> done) {
  return read<UserPage>(
      shard, [stamp, limit](Link& link) { return queries::list_users_since(link, stamp, limit); },
      std::move(done));
}

Result<void> MySqlRelational::update_user(uint32_t shard, UserId id, UserPatch patch,
                                          Callback<User> done) {
  return write<User>(
      shard,
      [this, id, patch = std::move(patch)](Link& link) {
        return queries::update_user(link, id, patch, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::list_departments(uint32_t shard, uint64_t stamp, uint32_t limit,
                                               Callback<DepartmentPage> done) {
  return read<DepartmentPage>(
      shard, [stamp, limit](Link& link) { return queries::list_departments(link, stamp, limit); },
      std::move(done));
}

Result<void> MySqlRelational::add_department(uint32_t shard, NewDepartment department,
                                             Callback<Department> done) {
  return write<Department>(
      shard,
      [this, department = std::move(department)](Link& link) {
        return queries::add_department(link, department, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::update_department(uint32_t shard, uint32_t id, DepartmentPatch patch,
                                                Callback<Department> done) {
  return write<Department>(
      shard,
      [this, id, patch = std::move(patch)](Link& link) {
        return queries::update_department(link, id, patch, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::remove_department(uint32_t shard, uint32_t id, Callback<void> done) {
  return write<void>(
      shard, [this, id](Link& link) { return queries::remove_department(link, id, now_s()); },
      std::move(done));
}

Result<void> MySqlRelational::list_sessions(uint32_t shard, UserId user,
                                            Callback<std::vector<SessionRow>> done) {
  return read<std::vector<SessionRow>>(
      shard, [user](Link& link) { return queries::list_sessions(link, user); }, std::move(done));
}

Result<void> MySqlRelational::hide_session(uint32_t shard, UserId user, UserId peer,
                                           uint32_t newest, Callback<void> done) {
  return write<void>(
      shard,
      [this, user, peer, newest](Link& link) {
        return queries::hide_session(link, user, peer, newest, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::add_group(uint32_t shard, NewGroup group, Callback<Group> done) {
  if (group.members.size() > kMembersPerCall) return fail(Errc::too_large);
  return write<Group>(
      shard,
      [this, group = std::move(group)](Link& link) {
        return queries::add_group(link, group, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::find_group(uint32_t shard, GroupId id, Callback<Group> done) {
  return read<Group>(
      shard, [id](Link& link) { return queries::find_group(link, id); }, std::move(done));
}

Result<void> MySqlRelational::list_groups(uint32_t shard, GroupId after, uint32_t limit,
                                          Callback<std::vector<Group>> done) {
  return read<std::vector<Group>>(
      shard, [after, limit](Link& link) { return queries::list_groups(link, after, limit); },
      std::move(done));
}

Result<void> MySqlRelational::update_group(uint32_t shard, GroupId id, GroupPatch patch,
                                           Callback<Group> done) {
  return write<Group>(
      shard,
      [this, id, patch = std::move(patch)](Link& link) {
        return queries::update_group(link, id, patch, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::dismiss_group(uint32_t shard, GroupId id, Callback<void> done) {
  return write<void>(
      shard, [this, id](Link& link) { return queries::dismiss_group(link, id, now_s()); },
      std::move(done));
}

Result<void> MySqlRelational::list_members(uint32_t shard, GroupId id, UserId after, uint32_t limit,
                                           Callback<std::vector<Member>> done) {
  return read<std::vector<Member>>(
      shard,
      [id, after, limit](Link& link) { return queries::list_members(link, id, after, limit); },
      std::move(done));
}

Result<void> MySqlRelational::change_members(uint32_t shard, MemberChange change,
                                             Callback<MembersChanged> done) {
  if (change.users.size() > kMembersPerCall) return fail(Errc::too_large);
  return write<MembersChanged>(
      shard,
      [this, change = std::move(change)](Link& link) {
        return queries::change_members(link, change, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::mute_group(uint32_t shard, UserId user, GroupId group, bool muted,
                                         Callback<void> done) {
  return write<void>(
      shard,
      [user, group, muted](Link& link) { return queries::mute_group(link, user, group, muted); },
      std::move(done));
}

Result<void> MySqlRelational::hide_group(uint32_t shard, UserId user, GroupId group,
                                         uint32_t hidden_to, Callback<void> done) {
  return write<void>(
      shard,
      [user, group, hidden_to](Link& link) {
        return queries::hide_group(link, user, group, hidden_to);
      },
      std::move(done));
}

Result<void> MySqlRelational::list_memberships(uint32_t shard, UserId user,
                                               Callback<std::vector<Membership>> done) {
  return read<std::vector<Membership>>(
      shard, [user](Link& link) { return queries::list_memberships(link, user); }, std::move(done));
}

Result<void> MySqlRelational::set_push_token(uint32_t shard, UserId user, PushToken token,
                                             Callback<void> done) {
  return take_push_token(shard, user, std::move(token),
                         [done = std::move(done)](Result<std::vector<UserId>> had) mutable {
                           if (!had) return done(std::unexpected(had.error()));
                           done({});
                         });
}

Result<void> MySqlRelational::take_push_token(uint32_t shard, UserId user, PushToken token,
                                              Callback<std::vector<UserId>> done) {
  return write<std::vector<UserId>>(
      shard,
      [this, user, token = std::move(token)](Link& link) {
        return queries::set_push_token(link, user, token, now_s());
      },
      std::move(done));
}

Result<void> MySqlRelational::clear_push_token(uint32_t shard, UserId user, Callback<void> done) {
  return write<void>(
      shard, [user](Link& link) { return queries::clear_push_token(link, user); }, std::move(done));
}

Result<void> MySqlRelational::set_push_shield(uint32_t shard, UserId user, bool on,
                                              Callback<void> done) {
  return write<void>(
      shard, [user, on](Link& link) { return queries::set_push_shield(link, user, on); },
      std::move(done));
}

Result<void> MySqlRelational::push_shield(uint32_t shard, UserId user, Callback<bool> done) {
  return read<bool>(
      shard, [user](Link& link) { return queries::push_shield(link, user); }, std::move(done));
}

}  // namespace ringtalk::store
