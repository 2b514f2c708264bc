// PasswordPool: argon2id off the shards, on a few threads.
//
// Bound        threads × 19 MiB; `queue` checks waiting or running in all, shared out to the shards:
//              beyond it Errc::full, and the client hears "server full".
// Thread rule  check() and hash() on shard `from`; callbacks there too, out of collect().
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/worker.h"
#include "shard/credentials.h"
#include "store/store.h"

namespace ringtalk::shard {

class PasswordPool {
 public:
  // dummy: see dummy_hash().
  PasswordPool(uint32_t shards, uint32_t threads, uint32_t queue, std::string dummy,
               engine::Random& random);

  void set_bell(uint32_t shard, engine::Bell* bell);
  void start();
  void stop();

  struct Checked {
    PasswordVerdict verdict = PasswordVerdict::wrong;
    std::string upgraded;  // argon2id text, with right_upgrade
  };
  using OnChecked = std::move_only_function<void(Checked)>;
  using OnHashed  = std::move_only_function<void(Result<std::string>)>;

  // account: null for an unknown name, which costs the same.
  Result<void> check(uint32_t from, const store::Account* account, std::string md5hex,
                     OnChecked done);
  Result<void> hash(uint32_t from, std::string md5hex, OnHashed done);

  void collect(uint32_t from);
  bool has_finished(uint32_t from) const;
  // For a simulator without threads.
  uint32_t run_some();

 private:
  class Check;
  class Hash;
  Result<void> submit(uint32_t from, std::unique_ptr<engine::Job> job);

  const std::string dummy_;
  engine::Random& random_;
  std::vector<std::unique_ptr<engine::Worker>> workers_;
  std::vector<uint32_t> next_;  // per shard: the worker to try first
};

}  // namespace ringtalk::shard
