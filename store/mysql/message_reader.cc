#include "store/mysql/message_reader.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/assert.h"
#include "store/mysql/batch_writer.h"
#include "store/mysql/texts.h"

namespace ringtalk::store {

using sql::Answer;
using sql::Fault;

namespace {

const TableTexts kOursSingle(
    "SELECT rtSeq, fromId, created, type, content, rtSmall FROM IMMessage_{} "
    "WHERE relateId = ? AND rtSeq > ? AND rtSeq <= ? AND status = 0 ORDER BY rtSeq DESC LIMIT ?");
const TableTexts kOursGroup(
    "SELECT rtSeq, userId, created, type, content, 0 FROM IMGroupMessage_{} "
    "WHERE groupId = ? AND rtSeq > ? AND rtSeq <= ? AND status = 0 ORDER BY rtSeq DESC LIMIT ?");
const TableTexts kTheirsSingle(
    "SELECT msgId, fromId, created, type, content FROM IMMessage_{} "
    "WHERE relateId = ? AND status = 0 AND msgId <= ? AND rtSeq IS NULL "
    "ORDER BY msgId DESC, created DESC, id DESC LIMIT ?");
const TableTexts kTheirsGroup(
    "SELECT msgId, userId, created, type, content FROM IMGroupMessage_{} "
    "WHERE groupId = ? AND status = 0 AND msgId <= ? AND rtSeq IS NULL "
    "ORDER BY msgId DESC, created DESC, id DESC LIMIT ?");
// Between a row of the original's and the take-over: ids that visible messages have, and those of the smaller
// user. Of rows that share an id the last one is the message.
const TableTexts kAboveSingle(
    "SELECT COUNT(DISTINCT m.msgId), COUNT(DISTINCT IF(m.fromId = ? AND NOT EXISTS ("
    "SELECT 1 FROM IMMessage_{} l WHERE l.relateId = m.relateId AND l.status = 0 AND l.msgId = "
    "m.msgId "
    "AND l.rtSeq IS NULL AND (l.created > m.created OR (l.created = m.created AND l.id > m.id))), "
    "m.msgId, NULL)) FROM IMMessage_{} m "
    "WHERE m.relateId = ? AND m.status = 0 AND m.msgId > ? AND m.msgId <= ? AND m.rtSeq IS NULL");
const TableTexts kAboveGroup(
    "SELECT COUNT(DISTINCT msgId), COUNT(IF(userId = ?, NULL, NULL)) FROM IMGroupMessage_{} "
    "WHERE groupId = ? AND status = 0 AND msgId > ? AND msgId <= ? AND rtSeq IS NULL");
constexpr std::string_view kTaken =
    "SELECT small, hidden FROM RTConversation WHERE type = ? AND convId = ?";
constexpr std::string_view kSound =
    "SELECT a.duration, r.data FROM IMAudio a LEFT JOIN RTAudio r ON r.audioId = a.id "
    "WHERE a.id = ?";

// A page on its way: messages without their bodies, which lie one behind the other in `bodies`.
struct Page {
  std::vector<Message> messages;
  std::vector<size_t> ends;  // of each body
  std::string bodies;

  void clear() { messages.clear(), ends.clear(), bodies.clear(); }
};

}  // namespace

class PageWorker final : public engine::Worker {
 public:
  PageWorker(const MessageReader::Options& options, engine::Clock& clock)
      : Worker(options.shards, MessageReader::kPagesMax, 1), clock_(clock) {
    master_.connect  = options.master;
    replica_.connect = options.replica;
  }
  ~PageWorker() override { stop(); }

  Error read(const PageRequest& request, const Conversation& conversation, Page& page);

 private:
  struct Line {
    sql::Connect connect;
    std::unique_ptr<sql::Connection> connection;
    uint64_t away_until_ns = 0;
  };

  Answer<void> read_from(Line& line, const PageRequest& request, const Conversation& conversation,
                         Page& page);
  Answer<bool> read_ours(sql::Connection& from, const PageRequest& request,
                         const Conversation& conversation, uint32_t newest, Page& page);
  Answer<void> read_theirs(sql::Connection& from, const PageRequest& request,
                           const Conversation& conversation, uint32_t newest, Page& page);
  Answer<void> count_below(sql::Connection& from, const Conversation& conversation,
                           Message& message);
  // False: there is no room for it.
  Answer<bool> add(sql::Connection& from, const PageRequest& request, const Message& message,
                   std::string_view content, Page& page);

  engine::Clock& clock_;
  Line master_, replica_;
};

// --- one page -----------------------------------------------------------------------------------------

Error PageWorker::read(const PageRequest& request, const Conversation& conversation, Page& page) {
  const uint32_t wanted =
      request.from == 0 ? conversation.newest : std::min(request.from, conversation.newest);
  if (wanted == 0 || request.count == 0) return {};
  if (replica_.connect) {
    const auto done = read_from(replica_, request, conversation, page);
    if (done && !page.messages.empty() && page.messages.front().msg_id == wanted) return {};
    page.clear();
  }
  if (read_from(master_, request, conversation, page)) return {};
  page.clear();
  return Error::from_errno(EIO);
}

Answer<void> PageWorker::read_from(Line& line, const PageRequest& request,
                                   const Conversation& conversation, Page& page) {
  const uint32_t newest =
      request.from == 0 ? conversation.newest : std::min(request.from, conversation.newest);
  for (uint32_t attempt = 0;; ++attempt) {
    const bool fresh = !line.connection || !line.connection->alive();
    if (fresh) {
      line.connection.reset();
      if (clock_.now_ns() < line.away_until_ns)
        return std::unexpected(sql::Trouble{Fault::lost, 0, "not reached a moment ago"});
      auto made = line.connect();
      if (!made) {
        line.away_until_ns = clock_.now_ns() + MessageReader::kAwayNs;
        return std::unexpected(made.error());
      }
      line.connection = std::move(*made);
    }
    Answer<bool> more = true;
    if (newest > conversation.taken)
      more = read_ours(*line.connection, request, conversation, newest, page);
    Answer<void> done;
    if (!more)
      done = std::unexpected(more.error());
    else if (*more && conversation.taken > 0)
      done = read_theirs(*line.connection, request, conversation,
                         std::min(newest, conversation.taken), page);
    if (done) return {};
    // A server closes what was idle for long: once more, on a new one.
    if (fresh || attempt > 0 || done.error().fault != Fault::lost) return done;
    page.clear();
  }
}

// True: the page has room for more.
Answer<bool> PageWorker::read_ours(sql::Connection& from, const PageRequest& request,
                                   const Conversation& conversation, uint32_t newest, Page& page) {
  const TableTexts& text = conversation.is_group() ? kOursGroup : kOursSingle;
  auto rows              = from.query(text[conversation.table()],
                                      {uint64_t{conversation.relation}, uint64_t{conversation.taken},
                                       uint64_t{newest}, uint64_t{request.count}});
  if (!rows) return std::unexpected(rows.error());
  for (size_t i = 0; i < rows->size(); ++i) {
    const Message message{.msg_id      = static_cast<uint32_t>(rows->number(i, 0)),
                          .author      = UserId(static_cast<uint32_t>(rows->number(i, 1))),
                          .time        = static_cast<uint32_t>(rows->number(i, 2)),
                          .type        = static_cast<uint8_t>(rows->number(i, 3)),
                          .small_count = static_cast<uint32_t>(rows->number(i, 5)),
                          .hidden      = conversation.hidden};
    auto added = add(from, request, message, rows->text(i, 4), page);
    if (!added || !*added) return added;
  }
  return page.messages.size() < request.count;
}

Answer<void> PageWorker::read_theirs(sql::Connection& from, const PageRequest& request,
                                     const Conversation& conversation, uint32_t newest,
                                     Page& page) {
  const TableTexts& text = conversation.is_group() ? kTheirsGroup : kTheirsSingle;
  const ConversationId id{conversation.key};
  std::optional<Message> above;  // the row of theirs before this one
  // Rows that share an id may fill a portion without filling the page.
  for (uint32_t upto = newest; page.messages.size() < request.count;) {
    const uint64_t count = request.count - page.messages.size() + 1;
    auto rows            = from.query(text[conversation.table()],
                                      {uint64_t{conversation.relation}, uint64_t{upto}, count});
    if (!rows) return std::unexpected(rows.error());
    for (size_t i = 0; i < rows->size() && page.messages.size() < request.count; ++i) {
      Message message{.msg_id = static_cast<uint32_t>(rows->number(i, 0)),
                      .author = UserId(static_cast<uint32_t>(rows->number(i, 1))),
                      .time   = static_cast<uint32_t>(rows->number(i, 2)),
                      .type   = static_cast<uint8_t>(rows->number(i, 3))};
      if (message.msg_id == 0) return {};
      if (above && above->msg_id == message.msg_id) continue;
      if (!above) {
        if (auto counted = count_below(from, conversation, message); !counted) return counted;
      } else {
        const bool by_small = !id.is_group() && above->author == id.small();
        message.small_count = above->small_count - (by_small && above->small_count > 0 ? 1 : 0);
        const uint32_t gap  = above->msg_id - message.msg_id - 1;
        message.hidden      = above->hidden - std::min(gap, above->hidden);
      }
      above      = message;
      auto added = add(from, request, message, rows->text(i, 4), page);
      if (!added) return std::unexpected(added.error());
      if (!*added) return {};
    }
    if (rows->size() < count) return {};
    upto = above->msg_id - 1;
  }
  return {};
}

// What the take-over counted, less what lies above the message.
Answer<void> PageWorker::count_below(sql::Connection& from, const Conversation& conversation,
                                     Message& message) {
  const ConversationId id{conversation.key};
  auto taken = from.query(kTaken, {uint64_t{kind_of(id)}, uint64_t{conversation.relation}});
  if (!taken) return std::unexpected(taken.error());
  if (taken->empty()) return {};
  const TableTexts& text = conversation.is_group() ? kAboveGroup : kAboveSingle;
  auto above =
      from.query(text[conversation.table()],
                 {uint64_t{id.is_group() ? 0 : raw(id.small())}, uint64_t{conversation.relation},
                  uint64_t{message.msg_id}, uint64_t{conversation.taken}});
  if (!above) return std::unexpected(above.error());
  const auto less = [](uint64_t a, uint64_t b) {
    return static_cast<uint32_t>(a - std::min(a, b));
  };
  const uint64_t ids  = conversation.taken - message.msg_id;
  message.small_count = less(taken->number(0, 0), above->number(0, 1));
  message.hidden      = less(taken->number(0, 1), less(ids, above->number(0, 0)));
  return {};
}

Answer<bool> PageWorker::add(sql::Connection& from, const PageRequest& request,
                             const Message& message, std::string_view content, Page& page) {
  std::string sound;
  if (is_sound(message.type)) {
    // One that the original keeps elsewhere has its duration and no bytes here.
    auto rows = from.query(kSound, {content});
    if (!rows) return std::unexpected(rows.error());
    sound.resize(kDurationBytes);
    if (!rows->empty()) {
      store_be32(sound.data(), static_cast<uint32_t>(rows->number(0, 0)));
      sound += rows->text(0, 1);
    }
    content = sound;
  }
  if (!page.messages.empty() && page.bodies.size() + content.size() > request.bytes_max)
    return false;
  page.bodies += content;
  page.messages.push_back(message);
  page.ends.push_back(page.bodies.size());
  return true;
}

// --- the shard's side ---------------------------------------------------------------------------------

class MessageReader::PageJob final : public engine::Job {
 public:
  PageJob(PageWorker& worker, Shard& shard, uint32_t number, Sink& sink, const PageRequest& request,
          const Conversation& conversation)
      : worker_(worker),
        shard_(shard),
        number_(number),
        sink_(sink),
        request_(request),
        conversation_(conversation) {
    request_.count     = std::min(request_.count, kMessagesMax);
    request_.bytes_max = std::min(request_.bytes_max, kBytesMax);
  }

  void run() override { error_ = worker_.read(request_, conversation_, page_); }
  void done() override {
    --shard_.out;
    --shard_.out_with[number_];
    size_t at = 0;
    for (size_t i = 0; i < page_.messages.size(); ++i) {
      page_.messages[i].body =
          as_bytes(std::string_view(page_.bodies).substr(at, page_.ends[i] - at));
      at = page_.ends[i];
    }
    sink_.on_page(request_.cookie, error_, page_.messages);
  }

 private:
  PageWorker& worker_;
  Shard& shard_;
  const uint32_t number_;
  Sink& sink_;
  PageRequest request_;
  const Conversation conversation_;
  Page page_;
  Error error_;
};

MessageReader::MessageReader(const Options& options, engine::Clock& clock) {
  RT_ASSERT(options.connections > 0);
  for (uint32_t i = 0; i < options.connections; ++i)
    workers_.push_back(std::make_unique<PageWorker>(options, clock));
  shards_.resize(options.shards);
  for (Shard& shard : shards_) shard.out_with.resize(options.connections);
}

MessageReader::~MessageReader() = default;

Result<void> MessageReader::read(uint32_t shard, const PageRequest& request,
                                 const Conversation& conversation, Sink& sink) {
  Shard& from = shards_[shard];
  if (from.out >= kPagesMax) return fail(Errc::full);
  const auto least   = std::ranges::min_element(from.out_with);
  const auto number  = static_cast<uint32_t>(least - from.out_with.begin());
  PageWorker& worker = *workers_[number];
  std::unique_ptr<engine::Job> job =
      std::make_unique<PageJob>(worker, from, number, sink, request, conversation);
  if (auto taken = worker.submit(shard, job); !taken) return taken;
  ++from.out;
  ++from.out_with[number];
  return {};
}

uint32_t MessageReader::collect(uint32_t shard) {
  uint32_t count = 0;
  for (const auto& worker : workers_) count += worker->collect(shard);
  return count;
}

bool MessageReader::has_finished(uint32_t shard) const {
  return std::ranges::any_of(workers_, [&](const auto& w) { return w->has_finished(shard); });
}

void MessageReader::set_bell(uint32_t shard, engine::Bell* bell) {
  for (const auto& worker : workers_) worker->set_bell(shard, bell);
}

void MessageReader::start() {
  for (const auto& worker : workers_) worker->start("mysql-pages");
}

void MessageReader::stop() {
  for (const auto& worker : workers_) worker->stop();
}

uint32_t MessageReader::run_some() {
  uint32_t count = 0;
  for (const auto& worker : workers_) count += worker->run_some();
  return count;
}

}  // namespace ringtalk::store
