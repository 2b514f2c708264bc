// RelationalCalls: the half of a Store that both drivers leave to another engine with the same calls.
//
// Engine: the calls of store.h with the shard's number in front, as embedded/relational.h and
// mysql/mysql_relational.h have them; null: every call is Errc::unsupported.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "store/store.h"

namespace ringtalk::store {

template <class Engine>
class RelationalCalls : public Store {
 public:
  Result<void> find_account(std::string_view name, Callback<Account> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->find_account(shard_, name, std::move(done));
  }
  Result<void> find_user(UserId id, Callback<User> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->find_user(shard_, id, std::move(done));
  }
  Result<void> add_users(std::vector<NewUser> users, Callback<std::vector<User>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->add_users(shard_, std::move(users), std::move(done));
  }
  Result<void> list_users(UserId after, uint32_t limit, Callback<std::vector<User>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_users(shard_, after, limit, std::move(done));
  }
  Result<void> upgrade_password(UserId id, uint32_t epoch, std::string argon2id,
                                Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->upgrade_password(shard_, id, epoch, std::move(argon2id), std::move(done));
  }
  Result<void> find_user_by_name(std::string_view name, Callback<User> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->find_user_by_name(shard_, name, std::move(done));
  }
  Result<void> find_users(std::vector<UserId> ids, Callback<std::vector<User>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->find_users(shard_, std::move(ids), std::move(done));
  }
  Result<void> list_users_since(uint64_t stamp, uint32_t limit, Callback<UserPage> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_users_since(shard_, stamp, limit, std::move(done));
  }
  Result<void> update_user(UserId id, UserPatch patch, Callback<User> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->update_user(shard_, id, std::move(patch), std::move(done));
  }
  Result<void> list_departments(uint64_t stamp, uint32_t limit,
                                Callback<DepartmentPage> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_departments(shard_, stamp, limit, std::move(done));
  }
  Result<void> add_department(NewDepartment department, Callback<Department> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->add_department(shard_, std::move(department), std::move(done));
  }
  Result<void> update_department(uint32_t id, DepartmentPatch patch,
                                 Callback<Department> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->update_department(shard_, id, std::move(patch), std::move(done));
  }
  Result<void> remove_department(uint32_t id, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->remove_department(shard_, id, std::move(done));
  }
  Result<void> list_sessions(UserId user, Callback<std::vector<SessionRow>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_sessions(shard_, user, std::move(done));
  }
  Result<void> hide_session(UserId user, UserId peer, uint32_t newest,
                            Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->hide_session(shard_, user, peer, newest, std::move(done));
  }
  Result<void> add_group(NewGroup group, Callback<Group> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->add_group(shard_, std::move(group), std::move(done));
  }
  Result<void> find_group(GroupId id, Callback<Group> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->find_group(shard_, id, std::move(done));
  }
  Result<void> list_groups(GroupId after, uint32_t limit,
                           Callback<std::vector<Group>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_groups(shard_, after, limit, std::move(done));
  }
  Result<void> update_group(GroupId id, GroupPatch patch, Callback<Group> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->update_group(shard_, id, std::move(patch), std::move(done));
  }
  Result<void> dismiss_group(GroupId id, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->dismiss_group(shard_, id, std::move(done));
  }
  Result<void> list_members(GroupId id, UserId after, uint32_t limit,
                            Callback<std::vector<Member>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_members(shard_, id, after, limit, std::move(done));
  }
  Result<void> change_members(MemberChange change, Callback<MembersChanged> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->change_members(shard_, std::move(change), std::move(done));
  }
  Result<void> mute_group(UserId user, GroupId group, bool muted, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->mute_group(shard_, user, group, muted, std::move(done));
  }
  Result<void> hide_group(UserId user, GroupId group, uint32_t hidden_to,
                          Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->hide_group(shard_, user, group, hidden_to, std::move(done));
  }
  Result<void> list_memberships(UserId user, Callback<std::vector<Membership>> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->list_memberships(shard_, user, std::move(done));
  }
  Result<void> set_push_token(UserId user, PushToken token, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->set_push_token(shard_, user, std::move(token), std::move(done));
  }
  Result<void> clear_push_token(UserId user, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->clear_push_token(shard_, user, std::move(done));
  }
  Result<void> set_push_shield(UserId user, bool on, Callback<void> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->set_push_shield(shard_, user, on, std::move(done));
  }
  Result<void> push_shield(UserId user, Callback<bool> done) override {
    if (!relational_) return fail(Errc::unsupported);
    return relational_->push_shield(shard_, user, std::move(done));
  }

 protected:
  RelationalCalls(Engine* relational, uint32_t shard) : relational_(relational), shard_(shard) {}

  Engine* const relational_;
  const uint32_t shard_;
};

}  // namespace ringtalk::store
