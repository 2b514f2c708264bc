#include "proto/parse.h"

#include <google/protobuf/stubs/logging.h>

namespace ringtalk::proto {

void silence_protobuf_log() { google::protobuf::SetLogHandler(nullptr); }

}  // namespace ringtalk::proto
