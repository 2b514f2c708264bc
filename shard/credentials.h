// Credentials: all that login needs to tell a user from a stranger. Pure: clock and randomness are
// passed in, the store's rows are passed in, nothing here knows a connection.
#pragma once

#include "shard/credentials/failure_table.h"
#include "shard/credentials/fast_verifier.h"
#include "shard/credentials/password.h"
#include "shard/credentials/secret_key.h"
#include "shard/credentials/session_token.h"
