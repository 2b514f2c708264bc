#include "tools/loadgen/groups.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "engine/base/units.h"
#include "engine/clock.h"
#include "proto/encode.h"
#include "proto/frame.h"
#include "proto/group.pb.h"
#include "proto/login.pb.h"
#include "proto/parse.h"

namespace ringtalk::loadgen {
namespace {

using proto::CommandId;

constexpr uint64_t kAnswerMs      = 5000;
constexpr uint32_t kMembersAtOnce = 1000;    // of one request: well below 64 KiB
constexpr uint32_t kMembersBulk   = 20'000;  // what the admin API takes in one request

constexpr const char* kLargeGroups =
    "(more than limits.group_members_max are brought together through the admin API: --data-dir or "
    "--admin-token-file)";

// One blocking connection.
class Line {
 public:
  ~Line() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool open(const engine::Address& server) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port   = htons(server.port);
    inet_pton(AF_INET, server.host.c_str(), &to.sin_addr);
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd_ >= 0 && ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }

  // The answer's body; nothing: none came in time, or the connection ended.
  template <class Request, class Response>
  bool ask(CommandId command, const Request& request, CommandId answer, Response& response) {
    std::vector<std::byte> frame(proto::encoded_size(request));
    proto::encode_frame(frame, command, ++sequence_, request);
    if (::send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(frame.size()))
      return false;
    engine::RealClock clock;
    const uint64_t until = clock.now_ns() + kAnswerMs * kNsPerMs;
    for (;;) {
      const proto::Split split = proto::split_frame(buffer_, proto::FrameLimits::from_server());
      if (split.status == proto::Split::Status::frame) {
        const bool ours = split.header.id() == answer && split.header.sequence == sequence_;
        const bool good = ours && proto::parse(response, split.body);
        buffer_.erase(buffer_.begin(),
                      buffer_.begin() + static_cast<ptrdiff_t>(split.whole.size()));
        if (ours) return good;
        continue;  // a push
      }
      if (split.status != proto::Split::Status::need_more || !receive(until)) return false;
    }
  }

 private:
  bool receive(uint64_t until_ns) {
    engine::RealClock clock;
    const uint64_t now = clock.now_ns();
    if (now >= until_ns) return false;
    pollfd wait{.fd = fd_, .events = POLLIN, .revents = 0};
    if (::poll(&wait, 1, static_cast<int>((until_ns - now) / kNsPerMs) + 1) <= 0) return false;
    const size_t had = buffer_.size();
    buffer_.resize(had + 16 * kKiB);
    const ssize_t got = ::recv(fd_, buffer_.data() + had, 16 * kKiB, 0);
    buffer_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    return got > 0;
  }

  int fd_            = -1;
  uint16_t sequence_ = 0;
  std::vector<std::byte> buffer_;
};

bool log_in(Line& line, const Account& account, bool pc) {
  IM::Login::IMLoginReq request;
  request.set_user_name(account.name);
  request.set_password(account.secret);
  request.set_online_status(IM::BaseDefine::USER_STATUS_ONLINE);
  request.set_client_type(pc ? IM::BaseDefine::CLIENT_TYPE_WINDOWS
                             : IM::BaseDefine::CLIENT_TYPE_ANDROID);
  IM::Login::IMLoginRes response;
  return line.ask(CommandId::login_request, request, CommandId::login_response, response) &&
         response.result_code() == 0;
}

bool add_members(Line& line, const Account& owner, uint32_t group,
                 std::span<const Account> members) {
  for (size_t from = 0; from < members.size(); from += kMembersAtOnce) {
    IM::Group::IMGroupChangeMemberReq request;
    request.set_user_id(owner.id);
    request.set_change_type(IM::BaseDefine::GROUP_MODIFY_TYPE_ADD);
    request.set_group_id(group);
    for (const Account& member :
         members.subspan(from, std::min<size_t>(kMembersAtOnce, members.size() - from)))
      request.add_member_id_list(member.id);
    IM::Group::IMGroupChangeMemberRsp response;
    if (!line.ask(CommandId::group_change_member_request, request,
                  CommandId::group_change_member_response, response) ||
        response.result_code() != 0)
      return false;
  }
  return true;
}

// By hand, as users are: a list of 20,000 numbers.
std::string id_list(std::span<const Account> accounts) {
  std::string list = "[";
  for (const Account& account : accounts)
    fmt::format_to(std::back_inserter(list), "{}{}", list.size() == 1 ? "" : ",", account.id);
  return list + "]";
}

}  // namespace

MadeGroups make_large_groups(Admin& admin, std::span<const Account> accounts, uint32_t size) {
  MadeGroups made;
  for (size_t at = 0; at + size <= accounts.size(); at += size) {
    const auto members = accounts.subspan(at, size);
    const size_t first = std::min<size_t>(size, kMembersBulk);
    const Answer added =
        admin.post("/api/v1/groups", fmt::format(R"({{"name":"load {}","members":{}}})", at / size,
                                                 id_list(members.first(first))));
    const uint32_t id = added.ok() ? added.value.value("id", 0u) : 0;
    if (id == 0) {
      made.problem = "making a group: " + (added.ok() ? "the answer names none" : added.problem);
      return made;
    }
    for (size_t from = first; from < size; from += kMembersBulk) {
      const auto some     = members.subspan(from, std::min<size_t>(kMembersBulk, size - from));
      const Answer answer = admin.post(fmt::format("/api/v1/groups/{}/members", id),
                                       fmt::format(R"({{"add":{}}})", id_list(some)));
      if (!answer.ok()) {
        made.problem = fmt::format("members of group {}: {}", id, answer.problem);
        return made;
      }
    }
    made.ids.push_back(id);
  }
  return made;
}

MadeGroups make_groups(const engine::Address& server, std::span<const Account> accounts,
                       uint32_t size, bool pc) {
  MadeGroups made;
  for (size_t at = 0; at + size <= accounts.size(); at += size) {
    const auto members   = accounts.subspan(at, size);
    const Account& owner = members[0];
    Line line;
    if (!line.open(server) || !log_in(line, owner, pc)) {
      made.problem = fmt::format("{} cannot log in to make a group", owner.name);
      return made;
    }
    IM::Group::IMGroupCreateReq request;
    request.set_user_id(owner.id);
    request.set_group_type(IM::BaseDefine::GROUP_TYPE_TMP);
    request.set_group_name(fmt::format("load {}", at / size));
    request.set_group_avatar("");
    const size_t first = std::min<size_t>(size, kMembersAtOnce);
    for (const Account& member : members.first(first)) request.add_member_id_list(member.id);
    IM::Group::IMGroupCreateRsp response;
    const bool answered = line.ask(CommandId::group_create_request, request,
                                   CommandId::group_create_response, response);
    if (!answered) {
      made.unsupported = true;
      made.problem     = "the server has no groups: 0x0405 is not answered";
      return made;
    }
    if (response.result_code() != 0 || response.group_id() == 0) {
      made.problem = fmt::format("making a group of {}: result {} {}", size, response.result_code(),
                                 kLargeGroups);
      return made;
    }
    if (!add_members(line, owner, response.group_id(), members.subspan(first))) {
      made.problem = fmt::format("group {} does not take {} members {}", response.group_id(), size,
                                 kLargeGroups);
      return made;
    }
    made.ids.push_back(response.group_id());
  }
  return made;
}

}  // namespace ringtalk::loadgen
