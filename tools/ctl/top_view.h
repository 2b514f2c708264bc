// TopView: two readings of a server, one after the other, as a table of its shards.
//
// Cost    a line per shard; rates and quantiles are of what happened between the readings.
// Errors  a value that the server does not give is "-" (null in JSON): an older server has fewer.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tools/ctl/http_client.h"
#include "tools/ctl/prometheus.h"

namespace ringtalk::ctl {

struct Reading {
  std::chrono::steady_clock::time_point at;
  Metrics metrics{""};
  Json status;  // of /api/v1/status; null if the server has none
};

struct ShardRates {
  std::optional<int> shard;  // none: all of them
  double connections = 0;
  std::optional<double> sessions;
  double messages_per_s   = 0;  // acknowledged
  double deliveries_per_s = 0;
  double busy             = 0;  // fraction of the time
  std::optional<double> turn_p99_s;
  std::optional<double> lag_s;
  std::optional<double> queued_bytes;
  std::optional<double> commit_p99_s;
  std::optional<double> batch_rows;  // mean
};

// One line per shard, then the total.
std::vector<ShardRates> rates_between(const Reading& before, const Reading& now);

// "ringtalkd 0.1.0, up 3 min, ready", then the table. foreign text is escaped.
std::string top_text(const Reading& now, const std::vector<ShardRates>& rates);
Json top_json(const std::vector<ShardRates>& rates);

}  // namespace ringtalk::ctl
