#include "store/cursors.h"

#include <algorithm>

namespace ringtalk::store {

uint32_t Cursors::get(CursorKey key) const {
  if (key.conversation == 0) return 0;
  const CursorRow* row = rows_.find(key);
  return row ? row->msg_id : 0;
}

bool Cursors::raise(CursorKey key, uint32_t msg_id) {
  if (key.conversation == 0 || msg_id <= get(key)) return false;
  rows_.find_or_insert(key).msg_id = msg_id;
  if (is_dirty_.insert(key).second) dirty_.push_back(key);
  return true;
}

void Cursors::load(CursorKey key, uint32_t msg_id) {
  if (key.conversation == 0) return;
  CursorRow& row = rows_.find_or_insert(key);
  row.msg_id     = std::max(row.msg_id, msg_id);
}

}  // namespace ringtalk::store
