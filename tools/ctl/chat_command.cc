// `ringtalkctl chat`: two terminals are two people.
//
// Joins a socket, a ChatSession, a ChatScreen and a Directory in one loop over poll(); the rules of the
// protocol are in chat_session.h, those of the terminal in chat_screen.h.
//
// Errors  exit 0 after /quit, end of input or a signal; 1 when the login is refused, the first connection
//         fails, another device takes over or, without a terminal, a line was not delivered or --to names
//         nobody; 2 for a wrong command line.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "engine/base/assert.h"
#include "proto/base_define.pb.h"
#include "proto/utf8.h"
#include "tools/ctl/address.h"
#include "tools/ctl/chat_screen.h"
#include "tools/ctl/chat_session.h"
#include "tools/ctl/command.h"
#include "tools/ctl/directory.h"
#include "tools/ctl/password.h"
#include "tools/ctl/printable.h"
#include "tools/ctl/table.h"

namespace ringtalk::ctl {

namespace {

using namespace std::chrono_literals;  // NOLINT: durations read like the manual
using Clock = std::chrono::steady_clock;

constexpr auto kConnectLimit     = 5s;
constexpr auto kBackOffFirst     = 250ms;
constexpr auto kBackOffMax       = 15s;
constexpr auto kNamesLimit       = 3s;  // how long a name given on the command line is waited for
constexpr uint32_t kHistoryLines = 20;
constexpr size_t kShownUnread    = 20;
constexpr size_t kShownOnline    = 50;
constexpr size_t kPreviewColumns = 40;

constexpr std::string_view kHelp =
    "a line is sent to the partner; // at its start sends one slash\n"
    "/to NAME      choose the partner (a name, or an id as #12); shows what was said last\n"
    "/history [N]  the newest N messages with the partner (20; at most 100)\n"
    "/more [N]     the N messages before those\n"
    "/unread       who has written what you have not seen\n"
    "/who          who is online\n"
    "/help         this\n"
    "/quit         log out and leave (also ^D)";

struct ChatOptions {
  std::string name;
  std::string server = "127.0.0.1:8000";
  PasswordSource password;
  std::string partner;
  uint32_t entry_lines = 10;  // of history, when a conversation is entered
  std::string aes_key  = std::string(proto::kTextKey);
  bool mobile          = false;
};

volatile std::sig_atomic_t stop_requested = 0;
volatile std::sig_atomic_t resized        = 0;
extern "C" void on_stop_signal(int) { stop_requested = 1; }
extern "C" void on_resize(int) { resized = 1; }

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = &on_stop_signal;  // no SA_RESTART: poll() must return
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  action.sa_handler = &on_resize;
  sigaction(SIGWINCH, &action, nullptr);
}

std::string clock_text(uint32_t seconds) {
  const std::time_t time = seconds;
  std::tm local{};
  const std::time_t now = std::time(nullptr);
  std::tm today{};
  if (localtime_r(&time, &local) == nullptr || localtime_r(&now, &today) == nullptr)
    return "??:??:??";
  const bool same_day = local.tm_yday == today.tm_yday && local.tm_year == today.tm_year;
  return same_day ? fmt::format("{:%H:%M:%S}", local) : fmt::format("{:%Y-%m-%d %H:%M:%S}", local);
}

std::string preview(std::string_view text) {
  std::string out;
  size_t columns = 0;
  while (!text.empty()) {
    const CodePoint point = first_code_point(text);
    columns += static_cast<size_t>(column_width(point.value));
    if (columns > kPreviewColumns) return escaped(out) + "…";
    out += text.substr(0, point.bytes);
    text.remove_prefix(point.bytes);
  }
  return escaped(out);
}

// Of the codes that docs/PROTOCOL.md has. Another server may have more, and its own words for them.
std::string refusal_text(const LoginRefused& refused) {
  using namespace IM::BaseDefine;  // NOLINT: enumerators carry their type's name already
  switch (refused.code) {
    case REFUSE_REASON_MSG_SERVER_FULL:
      return "the server has no room, or too many log in at once; try again in a few seconds";
    case REFUSE_REASON_NO_DB_SERVER: return "the server's storage is not available; try again";
    case REFUSE_REASON_DB_VALIDATE_FAILED:
      return "wrong name or password, a disabled user, or too many wrong passwords";
    case REFUSE_REASON_NONE: return "the server does not say who you are";
    default: return refused.reason.empty() ? "no reason given" : refused.reason;
  }
}

// Nobody types, not even on a terminal that can do nothing.
bool is_unattended() { return isatty(STDIN_FILENO) == 0; }

class Chat {
 public:
  Chat(const ChatOptions& options, Address server, ChatSession::Options session,
       Directory directory)
      : options_(options),
        server_(std::move(server)),
        session_(std::move(session)),
        directory_(std::move(directory)) {}

  int run();

 private:
  // ---- the loop ----
  void connect();
  void exchange();
  bool takes_lines() const;
  void flush();
  void handle_events();
  int milliseconds_to_wait() const;
  void leave_if_done();
  void end(int code) { exit_code_ = code; }
  int code_of_leaving() const;
  void not_sent(std::string_view why);

  // ---- what happened ----
  void handle(const LoggedIn& event);
  void handle(const LoginRefused& event);
  void handle(const Kicked& event);
  void handle(const LoggedOut&) { end(code_of_leaving()); }
  void handle(const Arrived& event);
  void handle(const Missed& event);
  void handle(const Acknowledged& event);
  void handle(const NotDelivered& event);
  void handle(const History& event);
  void handle(const HistoryFailed& event);
  void handle(const Unread& event);
  void handle(const ReadElsewhere& event);
  void handle(const Presence& event);
  void handle(const Statuses& event);
  void handle(const OwnPc& event);
  void handle(const Users& event);
  void handle(const Broken& event);
  void enter_named_partner();
  void show_line(const ChatLine& line, std::string_view mark);

  // ---- what the user types ----
  void take_line(const std::string& line);
  void take_command(std::string_view line);
  std::string unknown_user(std::string_view name) const;
  void choose_partner(std::string_view name);
  void ask_history(std::string_view count, bool older);
  void ask_who();
  void send(std::string_view text);
  void update_prompt();

  const ChatOptions& options_;
  const Address server_;
  ChatSession session_;
  Directory directory_;
  std::unique_ptr<ChatScreen> screen_;  // from the first login on; until then plain lines
  Socket socket_;

  UserId partner_{};
  std::map<Ticket, std::string> sent_;  // texts whose fate is not known, for "not delivered"
  uint64_t undelivered_  = 0;           // lines
  uint32_t oldest_shown_ = 0;           // of the conversation, for /more
  std::set<UserId> entered_;            // conversations
  bool overview_is_asked_ = false;      // by /unread, not by us after a login
  std::optional<Clock::time_point> name_deadline_;  // --to waits for the list of names
  bool quit_       = false;
  bool was_online_ = false;
  std::optional<int> exit_code_;
  Clock::time_point connect_at_       = Clock::now();
  std::chrono::milliseconds back_off_ = kBackOffFirst;
};

int Chat::run() {
  while (!exit_code_) {
    if (stop_requested != 0) return code_of_leaving();
    if (!socket_.is_open() && Clock::now() >= connect_at_) connect();
    if (!exit_code_) exchange();
    if (!exit_code_) leave_if_done();
  }
  return *exit_code_;
}

void Chat::connect() {
  auto socket = connect_tcp(server_, kConnectLimit);
  if (socket) {
    socket_ = std::move(*socket);
    session_.on_connected(Clock::now());
    flush();
    return;
  }
  if (!was_online_) {
    const bool os = socket.error().code == Errc::os;
    complain(fmt::format("cannot reach {}: {}", options_.server,
                         os ? std::strerror(socket.error().os) : "no such host"));
    return end(kExitFailed);
  }
  connect_at_ = Clock::now() + back_off_;
  back_off_   = std::min<std::chrono::milliseconds>(back_off_ * 2, kBackOffMax);
}

// Typed lines wait for the history that a command before them asked for: what is said stands below it.
bool Chat::takes_lines() const {
  return screen_ && !quit_ && !name_deadline_ && session_.can_send() && !session_.awaits_history();
}

int Chat::milliseconds_to_wait() const {
  const auto now = Clock::now();
  auto next      = session_.next_deadline();
  if (!socket_.is_open()) next = std::min(next, connect_at_);
  if (name_deadline_) next = std::min(next, *name_deadline_);
  // A signal between its check and poll() costs this much at most.
  next = std::min(next, now + 1s);
  if (next <= now) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
}

void Chat::exchange() {
  if (std::exchange(resized, 0) != 0 && screen_) screen_->redraw();
  const bool reads = screen_ && !quit_ && screen_->wants_input();
  std::array<pollfd, 2> fds{pollfd{reads ? STDIN_FILENO : -1, POLLIN, 0},
                            pollfd{socket_.fd(), POLLIN, 0}};
  if (poll(fds.data(), fds.size(), milliseconds_to_wait()) < 0 && errno != EINTR) {
    complain(std::strerror(errno));
    return end(kExitFailed);
  }
  if (fds[1].revents != 0) {
    std::array<std::byte, 64 * 1024> buffer;
    const ssize_t got = recv(socket_.fd(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got > 0) {
      session_.on_bytes(Bytes(buffer).first(static_cast<size_t>(got)), Clock::now());
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
      session_.on_closed();
    }
  }
  session_.on_time(Clock::now());
  handle_events();
  if (exit_code_) return;
  if (name_deadline_ && Clock::now() >= *name_deadline_) enter_named_partner();
  if (fds[0].revents != 0) screen_->read_input();
  while (!exit_code_ && takes_lines()) {
    const auto line = screen_->next_line();
    if (!line) break;
    take_line(*line);
    handle_events();
  }
  flush();
  if (std::ferror(stdout) != 0) end(kExitFailed);  // nobody reads any more
}

void Chat::flush() {
  const std::string bytes = session_.take_output();
  if (bytes.empty() || !socket_.is_open()) return;
  if (!send_all(socket_, bytes)) {
    session_.on_closed();
    handle_events();
  }
}

void Chat::handle_events() {
  for (const ChatEvent& event : session_.take_events()) {
    std::visit([&](const auto& happened) { handle(happened); }, event);
  }
  // What the events made the session say.
  if (socket_.is_open() && session_.state() == ChatSession::State::online) flush();
}

void Chat::leave_if_done() {
  if (screen_ && screen_->ended()) quit_ = true;
  if (!quit_ || session_.has_pending_sends() || (name_deadline_ && is_unattended())) return;
  switch (session_.state()) {
    case ChatSession::State::online: session_.leave(Clock::now()); return flush();
    case ChatSession::State::offline: return end(code_of_leaving());  // nobody to say goodbye to
    default: return;
  }
}

// A person has read what became of his lines; a script has the exit code.
int Chat::code_of_leaving() const {
  const bool lost =
      undelivered_ > 0 || session_.has_pending_sends() || (screen_ && screen_->skipped_lines() > 0);
  return lost && is_unattended() ? kExitFailed : kExitOk;
}

// ---- what happened ----

void Chat::handle(const LoggedIn& event) {
  back_off_ = kBackOffFirst;
  if (!screen_) screen_ = std::make_unique<ChatScreen>();
  session_.request_users();
  session_.request_unread();
  if (event.again) {
    screen_->show("connected again");
    return;
  }
  was_online_ = true;
  screen_->show(fmt::format("logged in as {} ({}), id {}", escaped(options_.name),
                            escaped(event.nick), raw(event.user)));
  name_deadline_ = Clock::now() + kNamesLimit;
  if (options_.partner.empty() || directory_.find(options_.partner)) enter_named_partner();
}

// The one of the command line, as soon as his name is known, or at last without.
void Chat::enter_named_partner() {
  name_deadline_.reset();
  if (!options_.partner.empty()) {
    if (is_unattended() && !directory_.find(options_.partner)) {
      complain(unknown_user(options_.partner));
      return end(kExitFailed);
    }
    choose_partner(options_.partner);
    if (is_unattended() && raw(partner_) == 0) return end(kExitFailed);  // himself
  }
  if (raw(partner_) == 0) screen_->show("/to NAME chooses whom to talk to, /help lists the rest");
  update_prompt();
}

void Chat::handle(const LoginRefused& event) {
  screen_.reset();
  complain(fmt::format("login refused: {} (code {})", refusal_text(event), event.code));
  end(kExitFailed);
}

void Chat::handle(const Kicked& event) {
  screen_.reset();
  complain(event.reason == 2
               ? "logged out by your phone"
               : "logged out: the account logged in on another device of this kind, or an operator "
                 "closed this session");
  end(kExitFailed);
}

void Chat::show_line(const ChatLine& line, std::string_view mark) {
  const bool ours = line.author == session_.user();
  std::string who = ours ? "me" : directory_.name_of(line.author);
  if (ours && raw(line.peer) != 0) who += fmt::format(" → {}", directory_.name_of(line.peer));
  if (raw(line.group) != 0) who = fmt::format("[group {}] {}", raw(line.group), who);
  std::string what;
  switch (line.kind) {
    case ChatLine::Kind::text: what = escaped(line.text); break;
    case ChatLine::Kind::opaque:
      what = fmt::format("(does not decrypt) {}", escaped(line.text));
      break;
    case ChatLine::Kind::sound: what = fmt::format("(sound, {} s)", line.sound_seconds); break;
  }
  screen_->show(fmt::format("{}{} {}: {}", mark, clock_text(line.create_time), who, what));
}

void Chat::handle(const Arrived& event) {
  show_line(event.line, event.missed ? "(missed) " : "");
  // Entered conversations are read as they are shown; of others a line went by, and they stay unread.
  if (entered_.contains(event.line.peer)) session_.mark_read(event.line.peer, event.line.msg_id);
}

void Chat::handle(const Missed& event) {
  screen_->show(fmt::format("more was missed from {} than is shown: /to and /history",
                            directory_.name_of(event.peer)));
}

void Chat::handle(const Acknowledged& event) {
  screen_->show(
      fmt::format("✓ {}{}", event.msg_id, event.late ? " (late: it is delivered after all)" : ""));
  sent_.erase(event.ticket);
  if (event.late) --undelivered_;
}

void Chat::handle(const NotDelivered& event) {
  ++undelivered_;
  screen_->show(fmt::format("not delivered: {}", preview(sent_[event.ticket])));
  sent_.erase(event.ticket);
}

void Chat::handle(const History& event) {
  const std::string who = directory_.name_of(event.peer);
  if (event.lines.empty()) {
    screen_->show(event.older ? fmt::format("that was the first message with {}", who)
                              : fmt::format("no messages with {} yet", who));
    return;
  }
  screen_->show(
      fmt::format("--- {} with {}, oldest first", counted(event.lines.size(), "message"), who));
  for (const ChatLine& line : event.lines) show_line(line, fmt::format("{:>5} ", line.msg_id));
  const bool more = event.lines.front().msg_id > 1;
  screen_->show(more ? "--- /more shows earlier ones" : "---");
  if (event.peer == partner_) oldest_shown_ = event.lines.front().msg_id;
  session_.mark_read(event.peer, event.lines.back().msg_id);
}

void Chat::handle(const HistoryFailed& event) {
  screen_->show(fmt::format("no history with {} now", directory_.name_of(event.peer)));
}

void Chat::handle(const Unread& event) {
  const bool asked = std::exchange(overview_is_asked_, false);
  uint64_t total   = 0;
  size_t shown     = 0;
  std::string lines;
  for (const auto& conversation : event.conversations) {
    // What has been entered is fetched and shown anyway.
    if (!asked && entered_.contains(conversation.peer)) continue;
    total += conversation.count;
    if (++shown > kShownUnread) continue;
    const std::string who  = raw(conversation.group) != 0
                                 ? fmt::format("group {}", raw(conversation.group))
                                 : directory_.name_of(conversation.peer);
    const ChatLine& newest = conversation.newest;
    lines += fmt::format("\n{:>5} from {}: {}", conversation.count, who,
                         newest.kind == ChatLine::Kind::sound ? "(sound)" : preview(newest.text));
  }
  if (total == 0 && !asked) return;
  if (shown > kShownUnread) lines += fmt::format("\n      and {} more", shown - kShownUnread);
  screen_->show(total == 0 ? "nothing is unread" : fmt::format("{} unread{}", total, lines));
}

void Chat::handle(const ReadElsewhere& event) {
  const std::string where = raw(event.group) != 0
                                ? fmt::format("in group {}", raw(event.group))
                                : fmt::format("with {}", directory_.name_of(event.peer));
  screen_->show(fmt::format("you have read up to {} {} on another device", event.msg_id, where));
}

void Chat::handle(const Presence& event) {
  screen_->show(
      fmt::format("{} is {}", directory_.name_of(event.user), event.online ? "online" : "offline"));
}

void Chat::handle(const Statuses& event) {
  if (event.users.size() == 1) return handle(event.users.front());
  std::string names;
  size_t online = 0;
  for (const Presence& user : event.users) {
    if (!user.online || ++online > kShownOnline) continue;
    names += (names.empty() ? ": " : ", ") + directory_.name_of(user.user);
  }
  screen_->show(fmt::format("{} of {} online{}{}", online, event.users.size(), names,
                            online > kShownOnline ? ", …" : ""));
}

void Chat::handle(const OwnPc& event) {
  screen_->show(event.online ? "you are logged in on a PC, too" : "your PC has logged out");
}

void Chat::handle(const Users& event) {
  for (const auto& user : event.users) directory_.learn(user.user, user.name, user.gone);
  if (name_deadline_ && directory_.find(options_.partner)) {
    enter_named_partner();
  } else if (!name_deadline_) {
    update_prompt();  // "#12" may have a name now
  }
}

void Chat::handle(const Broken& event) {
  socket_.close();
  if (!was_online_) {
    complain(event.why);
    return end(kExitFailed);
  }
  // Everybody lost the same server at the same moment: not everybody comes back in the same one.
  static std::minstd_rand random(std::random_device{}());
  const auto jitter = std::uniform_int_distribution<int64_t>(0, back_off_.count())(random);
  connect_at_       = Clock::now() + back_off_ / 2 + std::chrono::milliseconds(jitter);
  back_off_         = std::min<std::chrono::milliseconds>(back_off_ * 2, kBackOffMax);
  screen_->show(fmt::format("{}; connecting again", event.why));
}

// ---- what the user types ----

void Chat::update_prompt() {
  screen_->set_prompt(raw(partner_) == 0 ? "> "
                                         : fmt::format("→ {}> ", directory_.name_of(partner_)));
}

void Chat::take_line(const std::string& line) {
  if (line.empty()) return;
  if (line.starts_with("//")) return send(std::string_view(line).substr(1));
  if (line.starts_with('/')) return take_command(line);
  send(line);
}

void Chat::take_command(std::string_view line) {
  const size_t space             = line.find(' ');
  const std::string_view command = line.substr(0, space);
  std::string_view argument      = space == std::string_view::npos ? "" : line.substr(space + 1);
  while (argument.starts_with(' ')) argument.remove_prefix(1);
  while (argument.ends_with(' ')) argument.remove_suffix(1);
  if (command == "/quit") {
    quit_ = true;
  } else if (command == "/to") {
    choose_partner(argument);
  } else if (command == "/history") {
    ask_history(argument, /*older=*/false);
  } else if (command == "/more") {
    ask_history(argument, /*older=*/true);
  } else if (command == "/unread") {
    overview_is_asked_ = session_.state() == ChatSession::State::online;
    if (!overview_is_asked_) return screen_->show("not connected now");
    session_.request_unread();
  } else if (command == "/who") {
    ask_who();
  } else if (command == "/help") {
    screen_->show(kHelp);
  } else {
    screen_->show(fmt::format("no command {}: /help lists them", escaped(command)));
  }
}

std::string Chat::unknown_user(std::string_view name) const {
  return fmt::format("no user {}{}", name,
                     directory_.knows_names() ? "" : ": names are not known here, give an id");
}

void Chat::choose_partner(std::string_view name) {
  const auto user = directory_.find(name);
  if (name.empty() || !user) {
    screen_->show(escaped(unknown_user(name)));
    return;
  }
  if (*user == session_.user()) {
    screen_->show("that is you");
    return;
  }
  partner_      = *user;
  oldest_shown_ = 0;
  entered_.insert(partner_);
  screen_->show(fmt::format("talking to {}", directory_.name_of(partner_)));
  if (options_.entry_lines > 0)
    session_.request_history(partner_, options_.entry_lines, Clock::now());
  session_.watch(partner_, Clock::now());
  session_.request_statuses({partner_});
  update_prompt();
}

void Chat::ask_history(std::string_view count, bool older) {
  uint32_t lines          = kHistoryLines;
  const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), lines);
  const bool good = count.empty() || (error == std::errc{} && end == count.data() + count.size());
  if (!good || lines == 0)
    return screen_->show(
        fmt::format("{} wants a number from 1 to 100", older ? "/more" : "/history"));
  if (raw(partner_) == 0) return screen_->show("history with whom? /to NAME first");
  session_.request_history(partner_, std::min(lines, kHistoryLinesMax), Clock::now(),
                           older ? oldest_shown_ : 0);
}

void Chat::ask_who() {
  std::vector<UserId> users = directory_.users(kStatusesMax);
  if (raw(partner_) != 0 && users.empty()) users.push_back(partner_);
  if (users.empty()) return screen_->show("nobody is known here yet");
  session_.request_statuses(users);
}

void Chat::not_sent(std::string_view why) {
  ++undelivered_;
  screen_->show(why);
}

void Chat::send(std::string_view text) {
  if (raw(partner_) == 0) return not_sent("to whom? /to NAME first");
  if (text.size() > proto::kPlainTextBytesMax) {
    return not_sent(
        fmt::format("not sent: {} bytes of at most {}", text.size(), proto::kPlainTextBytesMax));
  }
  if (!proto::valid_utf8(as_bytes(text))) return not_sent("not sent: this is not UTF-8");
  const Ticket ticket = session_.send_text(partner_, text, Clock::now());
  sent_.emplace(ticket, text);
}

int run_chat(const Context& context, const ChatOptions& options) {
  const auto server = parse_address(options.server);
  const auto http   = parse_address(context.http);
  if (!server || !http) {
    complain(fmt::format("HOST:PORT is wanted, not {}", server ? context.http : options.server));
    return kExitUsage;
  }
  if (options.aes_key.size() != proto::kTextKeyBytes) {
    complain(fmt::format("--aes-key wants {} bytes", proto::kTextKeyBytes));
    return kExitUsage;
  }
  const auto password = obtain_password(
      options.password, fmt::format("password of {}: ", escaped(options.name)), Ask::once);
  if (!password) {
    complain(password_problem(password.error(), options.password));
    return kExitUsage;
  }
  std::unique_ptr<HttpClient> client;
  if (const auto token = read_admin_token(context.data_dir)) {
    client = std::make_unique<HttpClient>(*http, token.value);
  }
  std::random_device random;
  ChatSession::Options session{
      .name           = options.name,
      .secret         = password->starts_with("token:") ? *password : md5hex(*password),
      .mobile         = options.mobile,
      .codec          = proto::TextCodec(options.aes_key),
      .send_id_prefix = fmt::format("ctl-{:08x}{:08x}-", random(), random()),
      .first_sequence = static_cast<uint16_t>(1 + random() % ChatSession::kSequenceMax)};
  catch_signals();
  return Chat(options, *server, std::move(session), Directory(std::move(client))).run();
}

}  // namespace

void add_chat_command(CLI::App& app, Context& context) {
  auto options   = std::make_shared<ChatOptions>();
  CLI::App* chat = app.add_subcommand("chat", "talk to other users from this terminal");
  chat->add_option("NAME", options->name, "login name")->required();
  chat->add_option("--server", options->server, "HOST:PORT of the server's chat door")
      ->capture_default_str();
  add_password_options(*chat, options->password);
  chat->footer(chat->get_footer() +
               "\nA password that begins with token: is a session token of `ringtalkctl token`.");
  chat->add_option("--to", options->partner, "whom to talk to: a name, or an id as #12");
  chat->add_option("--history", options->entry_lines,
                   "messages shown when a conversation is entered")
      ->check(CLI::Range(0u, kHistoryLinesMax))
      ->capture_default_str();
  chat->add_option("--aes-key", options->aes_key, "the 32 bytes under which clients wrap texts");
  chat->add_flag("--mobile", options->mobile,
                 "log in as a phone: one phone and one PC live side by side");
  chat->callback([&context, options] {
    context.run = [&context, options] { return run_chat(context, *options); };
  });
}

}  // namespace ringtalk::ctl
