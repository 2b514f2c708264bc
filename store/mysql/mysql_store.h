// MySqlStore: store.h on TeamTalk's own MySQL schema, one lane of batches per shard.
//
//   append ─▶ MessageLane ─▶ LaneWorker ═▶ master     relational calls ─▶ MySqlRelational ═▶ master
//   read_page ─▶ (waits for the commit) ─▶ MessageReader ═▶ replica or master
//   head, cursor ─▶ memory, loaded at open         what was committed ─▶ redis::Mirror ═▶ Redis
//
// Truth     MySQL. What is in memory was committed first; nothing else is believed.
// Lifetime  MySqlStores outlives its stores. A store may go at any time: what its worker still writes is
//           finished or rolled back by close().
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/mysql/message_lane.h"
#include "store/mysql/message_loader.h"
#include "store/mysql/message_reader.h"
#include "store/mysql/mirror_rows.h"
#include "store/mysql/mysql_relational.h"
#include "store/redis/mirror.h"
#include "store/relational_calls.h"
#include "store/stores.h"

namespace ringtalk::store {

class MySqlStores;

class MySqlStore final : public RelationalCalls<MySqlRelational> {
 public:
  Result<void> append(const Append& message) override { return lane_.append(message); }
  bool has_room() const override { return lane_.has_room(); }
  Result<void> read_page(const PageRequest& request) override;
  Head head(ConversationId conversation) const override;
  void set_cursor(UserId user, ConversationId conversation, uint32_t msg_id) override;
  uint32_t cursor(UserId user, ConversationId conversation) const override;
  void note_own(UserId author, ConversationId group, uint32_t msg_id) override;
  void on_turn(uint64_t now_ns) override;
  void on_tick(uint64_t now_ns) override;
  bool work_waits() const override;
  bool idle() const override;
  bool out_of_space() const override { return lane_.server_full(); }
  Figures figures() const override;
  Result<void> open_conversation(ConversationId conversation, uint32_t time,
                                 Callback<void> done) override;
  // As they are, and told to the mirror.
  Result<void> add_group(NewGroup group, Callback<Group> done) override;
  Result<void> dismiss_group(GroupId id, Callback<void> done) override;
  Result<void> change_members(MemberChange change, Callback<MembersChanged> done) override;
  Result<void> mute_group(UserId user, GroupId group, bool muted, Callback<void> done) override;
  Result<void> set_push_token(UserId user, PushToken token, Callback<void> done) override;
  Result<void> clear_push_token(UserId user, Callback<void> done) override;

 private:
  friend class MySqlStores;
  struct Waiting {
    PageRequest request;
    uint64_t batch;
    uint64_t until_ns;
  };
  static constexpr uint64_t kPageWaitNs = 5 * kNsPerS;  // behind a batch that nobody decides
  static constexpr uint64_t kLookNs     = 3 * kNsPerS;  // around, for what other programs wrote

  MySqlStore(MySqlStores& owner, uint32_t shard, LoadedShard loaded, engine::Metrics& metrics,
             Sink& sink);

  void start_pages(uint64_t now_ns);
  void look_around(uint64_t now_ns);
  template <class T, class Tell>
  Callback<T> telling(Callback<T> done, Tell tell);

  MySqlStores& owner_;
  Sink& sink_;
  const std::unique_ptr<Conversations> conversations_;
  const std::unique_ptr<Cursors> cursors_;
  MessageLane lane_;
  std::vector<Waiting> waiting_;
  uint64_t decided_ = 0;  // batches whose pages were started
  uint64_t look_ns_ = 0;  // when to look around
  bool looking_     = false;
};

class MySqlStores final : public Stores {
 public:
  struct Options {
    sql::Connect master;
    sql::Connect replica;  // null: pages are read from the master
    Homes homes;
    uint32_t node        = 0;
    uint32_t connections = 4;  // for pages
    std::optional<redis::Pools> redis;
    redis::Connect connect_redis = &redis::connect;
  };
  struct Report {
    uint64_t conversations     = 0;
    uint64_t cursors           = 0;
    uint64_t repeats           = 0;
    uint64_t repeats_forgotten = 0;
    uint64_t duration_ns       = 0;
    bool weak_flush            = false;  // COMMIT is answered before the server's log is on disk
  };

  // Blocking; the clock outlives the object. The trouble says what the operator has to know.
  static sql::Answer<std::unique_ptr<MySqlStores>> open(const Options& options,
                                                        engine::Clock& clock);
  ~MySqlStores() override;

  const Report& report() const { return report_; }
  // Null: there is no Redis.
  redis::Mirror* mirror() { return mirror_.get(); }

  Result<std::vector<UserState>> load_user_states() override;
  void set_bell(uint32_t shard, engine::Bell* bell) override;
  void start() override;
  std::unique_ptr<Store> make(uint32_t shard, engine::Ring& ring, engine::Metrics& metrics,
                              Sink& sink) override;
  std::vector<Repeat> take_repeats(uint32_t shard) override;
  const engine::Metrics* mirror_metrics() const override { return mirror_metrics_.get(); }
  Result<void> close() override;

  // For a simulator, instead of start(): what waits is done now. Returns how many jobs.
  uint32_t run_workers();

 private:
  friend class MySqlStore;
  MySqlStores(const Options& options, std::unique_ptr<MySqlRelational> relational,
              engine::Clock& clock, LoadedMessages loaded);

  const Options options_;
  const std::unique_ptr<MySqlRelational> relational_;
  engine::Clock& clock_;
  LoadedMessages loaded_;
  Report report_;
  std::vector<std::unique_ptr<LaneWorker>> lanes_;
  MessageReader reader_;
  engine::SystemRandom random_;
  std::unique_ptr<engine::Metrics> mirror_metrics_;
  std::unique_ptr<MirrorRows> mirror_rows_;
  std::unique_ptr<redis::Mirror> mirror_;  // null: there is no Redis
};

}  // namespace ringtalk::store
