#include "shard/password_pool.h"

#include <algorithm>

namespace ringtalk::shard {

class PasswordPool::Check final : public engine::Job {
 public:
  Check(PasswordPool& pool, const store::Account* account, std::string md5hex, OnChecked done)
      : pool_(pool), md5hex_(std::move(md5hex)), done_(std::move(done)) {
    if (!account) return;
    argon2id_ = account->password;
    legacy_   = account->legacy_password;
    salt_     = account->legacy_salt;
  }
  void run() override {
    result_.verdict = verify_password({argon2id_, legacy_, salt_}, md5hex_, pool_.dummy_);
    if (result_.verdict != PasswordVerdict::right_upgrade) return;
    if (auto better = argon2id_hash(md5hex_, pool_.random_)) result_.upgraded = std::move(*better);
  }
  void done() override { done_(std::move(result_)); }

 private:
  PasswordPool& pool_;
  std::string md5hex_, argon2id_, legacy_, salt_;
  OnChecked done_;
  Checked result_;
};

class PasswordPool::Hash final : public engine::Job {
 public:
  Hash(PasswordPool& pool, std::string md5hex, OnHashed done)
      : pool_(pool), md5hex_(std::move(md5hex)), done_(std::move(done)) {}
  void run() override { result_ = argon2id_hash(md5hex_, pool_.random_); }
  void done() override { done_(std::move(result_)); }

 private:
  PasswordPool& pool_;
  std::string md5hex_;
  OnHashed done_;
  Result<std::string> result_;
};

PasswordPool::PasswordPool(uint32_t shards, uint32_t threads, uint32_t queue, std::string dummy,
                           engine::Random& random)
    : dummy_(std::move(dummy)), random_(random), next_(shards) {
  const uint32_t share = std::max(1u, queue / (threads * shards));
  for (uint32_t i = 0; i < threads; ++i)
    workers_.push_back(std::make_unique<engine::Worker>(shards, share));
}

void PasswordPool::set_bell(uint32_t shard, engine::Bell* bell) {
  for (auto& worker : workers_) worker->set_bell(shard, bell);
}

void PasswordPool::start() {
  for (auto& worker : workers_) worker->start("password");
}

void PasswordPool::stop() {
  for (auto& worker : workers_) worker->stop();
}

Result<void> PasswordPool::submit(uint32_t from, std::unique_ptr<engine::Job> job) {
  for (size_t tried = 0; tried < workers_.size(); ++tried) {
    engine::Worker& worker = *workers_[next_[from]++ % workers_.size()];
    if (worker.submit(from, job)) return {};
  }
  return fail(Errc::full);
}

Result<void> PasswordPool::check(uint32_t from, const store::Account* account, std::string md5hex,
                                 OnChecked done) {
  return submit(from, std::make_unique<Check>(*this, account, std::move(md5hex), std::move(done)));
}

Result<void> PasswordPool::hash(uint32_t from, std::string md5hex, OnHashed done) {
  return submit(from, std::make_unique<Hash>(*this, std::move(md5hex), std::move(done)));
}

void PasswordPool::collect(uint32_t from) {
  for (auto& worker : workers_) worker->collect(from);
}

bool PasswordPool::has_finished(uint32_t from) const {
  return std::ranges::any_of(workers_,
                             [&](const auto& worker) { return worker->has_finished(from); });
}

uint32_t PasswordPool::run_some() {
  uint32_t ran = 0;
  for (auto& worker : workers_) ran += worker->run_some();
  return ran;
}

}  // namespace ringtalk::shard
