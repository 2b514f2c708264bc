// ShardGateway: the doors of one shard as the shard knows them: TeamTalk clients, and HTTP on shard 0.
#pragma once

#include <memory>
#include <optional>

#include "gateway/admin_api.h"
#include "gateway/http_gateway.h"
#include "gateway/reload.h"
#include "gateway/tcp_gateway.h"

namespace ringtalk::gateway {

class ShardGateway final : public shard::Gateway {
 public:
  void open(const TcpGateway::Setup& setup, int listener_fd) {
    tcp_ = std::make_unique<TcpGateway>(setup, listener_fd);
  }
  void open_http(HttpGateway::Setup setup, int listener_fd, shard::Shard& shard,
                 shard::PasswordPool& passwords, const shard::TokenSigner& tokens,
                 const shard::Limits& limits) {
    http_ = std::make_unique<HttpGateway>(std::move(setup), listener_fd);
    api_  = std::make_unique<AdminApi>(AdminApi::Setup{*http_, shard, passwords, tokens, limits});
    http_->connect(*api_);
  }

  // Shard 0's: it hears what became of the reloads it asked for.
  void hear(ReloadDesk& reloads) { reloads_ = &reloads; }

  // --- shard::Gateway
  shard::Session& adopt(engine::Slot slot, uint32_t address) override {
    return tcp_->adopt(slot, address);
  }
  void on_turn() override {
    tcp_->on_turn();
    if (reloads_) reloads_->on_turn();
  }
  bool work_waits() const override {
    return tcp_->work_waits() || (reloads_ && reloads_->work_waits());
  }
  void on_users_done(uint32_t ticket) override {
    if (api_) api_->on_users_done(ticket);
  }
  void begin_drain() override {
    tcp_->begin_drain();
    if (http_) http_->begin_drain();
  }
  uint64_t connection_bytes() const override { return tcp_->connections() * sizeof(TcpConnection); }
  bool close_some(bool hurry) override {
    if (!tcp_->close_some(hurry)) return false;
    if (!http_) return true;
    http_->close(hurry);
    return http_->drained();
  }

 private:
  std::unique_ptr<TcpGateway> tcp_;
  std::unique_ptr<HttpGateway> http_;
  std::unique_ptr<AdminApi> api_;
  ReloadDesk* reloads_ = nullptr;
};

}  // namespace ringtalk::gateway
