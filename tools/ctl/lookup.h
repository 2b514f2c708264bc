// Lookup: departments and groups of the server, by id or by name.
//
// Errors  One name of several is an error, since the wrong one would be changed; so is a name of none.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/ctl/http_client.h"

namespace ringtalk::ctl {

// Removed ones too.
Answer<std::vector<Json>> list_departments(HttpClient& client);
bool is_removed(const Json& department);
// A number is an id and not looked up, 0 none of them; a name is of one that is not removed.
Answer<uint32_t> find_department(HttpClient& client, std::string_view which);

// A group as it is shown: id, name, type, member_count and what else the server tells.
bool is_group(const Json& row);
Answer<std::vector<Json>> list_groups(HttpClient& client);
// The group. 12 or #12 is an id.
Answer<Json> find_group(HttpClient& client, std::string_view which);

}  // namespace ringtalk::ctl
