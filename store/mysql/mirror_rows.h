// MirrorRows: what the mirror in Redis asks of MySQL: heads, read positions, members, push tokens.
//
// Thread rule  The mirror's thread; it blocks.
// Cost         One statement per slice; of a conversation some look-ups in indexes, however long it is. A read
//              position among messages of the original's takes a statement of its own.
// Errors       os: the server is away; tried again at the mirror's pace.
// Source       always the master: a replica may be behind what the mirror was told.
#pragma once

#include "engine/clock.h"
#include "store/mysql/link.h"
#include "store/redis/mirror_source.h"

namespace ringtalk::store {

class MirrorRows final : public redis::MirrorSource {
 public:
  MirrorRows(sql::Connect master, engine::Clock& clock);

  Result<redis::SourceSize> size() override;
  Result<std::vector<redis::PairRow>> pairs(uint32_t after, uint32_t limit) override;
  Result<std::vector<redis::GroupRow>> groups(GroupId after, uint32_t limit) override;
  Result<std::vector<redis::MemberRow>> members(redis::MemberKey after, uint32_t limit) override;
  Result<std::vector<redis::TokenRow>> tokens(UserId after, uint32_t limit) override;
  Result<std::vector<redis::PairRow>> find_pairs(std::span<const ConversationId> pairs) override;
  Result<std::vector<redis::MemberRow>> find_members(
      std::span<const redis::MemberKey> keys) override;
  Result<std::vector<redis::TokenRow>> find_tokens(std::span<const UserId> users) override;

 private:
  Result<sql::Rows> query(std::string_view text, std::span<const sql::Value> values);
  Result<std::vector<redis::PairRow>> to_pairs(const sql::Rows& rows);
  Result<uint32_t> unread(const sql::Rows& rows, size_t row, redis::PairRow& pair, bool of_small);

  Link link_;
};

}  // namespace ringtalk::store
