// Every metric of the process, declared once. A new one is one line here.
//
//   RT_COUNTER(enumerator, name without "ringtalk_", label or "", unit, help)   only grows
//   RT_GAUGE(…)       same columns; goes both ways
//   RT_HISTOGRAM(…)   same columns; its values are recorded in the stored unit
//   RT_PROCESS_COUNTER(…), RT_PROCESS_GAUGE(…)   of the whole process: printed once, without a label `shard`
//
// Unit none: a count. bytes: the name has the word "bytes". seconds: stored in nanoseconds, printed in
// seconds, the name has the word "seconds". Rows that share a name stand together and differ in their
// label (key="value"); the help of the first one counts. No include guard: read several times.

// Connections
RT_COUNTER(accepts, "accepts_total", "", none, "Connections accepted")
RT_COUNTER(accept_emfile, "accept_refusals_total", "cause=\"emfile\"", none,
           "Accepts refused by the kernel, by errno: EMFILE is RLIMIT_NOFILE, ENFILE a full "
           "descriptor table")
RT_COUNTER(accept_enfile, "accept_refusals_total", "cause=\"enfile\"", none, "")
RT_COUNTER(accept_other, "accept_refusals_total", "cause=\"other\"", none, "")
RT_COUNTER(accept_pauses, "accept_pauses_total", "", none,
           "Times accepting paused because fewer than 5 % of the slots were free")
RT_COUNTER(close_peer, "closes_total", "cause=\"peer\"", none, "Connections closed, by cause")
RT_COUNTER(close_malformed, "closes_total", "cause=\"malformed\"", none, "")
RT_COUNTER(close_login_deadline, "closes_total", "cause=\"login_deadline\"", none, "")
RT_COUNTER(close_login_failed, "closes_total", "cause=\"login_failed\"", none, "")
RT_COUNTER(close_idle, "closes_total", "cause=\"idle\"", none, "")
RT_COUNTER(close_slow_reader, "closes_total", "cause=\"slow_reader\"", none, "")
RT_COUNTER(close_send_stall, "closes_total", "cause=\"send_stall\"", none, "")
RT_COUNTER(close_kicked, "closes_total", "cause=\"kicked\"", none, "")
RT_COUNTER(close_logout, "closes_total", "cause=\"logout\"", none, "")
RT_COUNTER(close_limit, "closes_total", "cause=\"limit\"", none, "")
RT_COUNTER(close_drain, "closes_total", "cause=\"drain\"", none, "")
RT_GAUGE(connections, "connections", "", none, "Open connections")
RT_GAUGE(http_connections, "http_connections", "", none, "Open connections of the HTTP door")
RT_GAUGE(connection_slots, "connection_slots", "", none, "Connections that fit")
RT_COUNTER(handovers, "handovers_total", "", none, "Connections handed to their user's home shard")
RT_COUNTER(handovers_refused, "handovers_refused_total", "", none,
           "Hand-overs that found the target full")

// Bytes and frames
RT_COUNTER(frames_in, "frames_in_total", "", none, "Frames taken from connections")
RT_COUNTER(frames_out, "frames_out_total", "", none, "Frames queued to connections")
RT_COUNTER(bytes_in, "bytes_in_total", "", bytes, "Bytes received")
RT_COUNTER(bytes_out, "bytes_out_total", "", bytes, "Bytes sent")
RT_COUNTER(sends, "sends_total", "", none,
           "Send operations completed; frames_out / sends is the coalescing")
RT_COUNTER(sends_short, "sends_short_total", "", none,
           "Sends that took only part of what was offered")
RT_COUNTER(recv_rearmed_enobufs, "recv_rearmed_total", "cause=\"enobufs\"", none,
           "Multishot receives that ended and were armed again, by cause")
RT_COUNTER(recv_rearmed_other, "recv_rearmed_total", "cause=\"other\"", none, "")
RT_GAUGE(send_queue_bytes, "send_queue_bytes", "", bytes,
         "Memory of send queues: what waits for readers, in whole blocks")
RT_GAUGE(recv_buffers_lent, "recv_buffers_lent", "", none,
         "Receive buffers in our hands; they go back within the turn")

// The loop
RT_COUNTER(loop_turns, "loop_turns_total", "", none, "Turns of the loop")
RT_COUNTER(loop_busy, "loop_busy_seconds_total", "", seconds, "Time not spent waiting")
RT_COUNTER(loop_sleeps, "loop_sleeps_total", "", none, "Turns that waited")
RT_COUNTER(loop_long_turns, "loop_long_turns_total", "", none, "Turns longer than 2 ms")
RT_COUNTER(loop_held_turns, "loop_held_turns_total", "", none,
           "Those of them in which the shard itself used 2 ms of processor time")
RT_COUNTER(cq_overflow, "cq_overflow_total", "", none,
           "Times the kernel had to hold completions back")
RT_GAUGE(timers_armed, "timers_armed", "", none, "Timers armed")
RT_HISTOGRAM(turn_time, "loop_turn_seconds", "", seconds,
             "Length of a turn of the loop, without waiting")
RT_GAUGE(tick_time, "loop_tick_seconds", "", seconds,
         "Monotonic clock at the last tick (ten a second); it stands still when the shard is stuck")
RT_GAUGE(tick_lag, "loop_lag_seconds", "", seconds, "How late the last tick was")

// Between shards
RT_COUNTER(lane_events, "lane_events_total", "", none, "Events sent to other shards")
RT_COUNTER(lane_full, "lane_full_total", "", none, "Events kept back because a lane was full")
RT_COUNTER(doorbells, "doorbells_total", "", none, "Sleeping shards woken")
RT_GAUGE(lane_waiting, "lane_events_waiting", "", none,
         "Events that other shards had not taken yet at the last tick")

// Storage
RT_HISTOGRAM(commit_time, "commit_seconds", "", seconds,
             "From the start of a batch's write until it is durable")
RT_HISTOGRAM(commit_rows, "commit_messages", "", none, "Messages per batch made durable")
RT_COUNTER(commit_bytes, "commit_bytes_total", "", bytes, "Bytes of records made durable")
RT_COUNTER(segment_wait, "segment_wait_seconds_total", "", seconds,
           "Time in which a batch waited for a log segment to be prepared")

// The log lines of this process (see engine/log.h)
RT_PROCESS_COUNTER(log_lines, "log_lines_total", "", none, "Log lines written")
RT_PROCESS_COUNTER(log_suppressed, "log_suppressed_total", "", none,
                   "Log lines withheld by the limit per cause")
RT_PROCESS_COUNTER(log_dropped, "log_dropped_total", "", none,
                   "Log lines lost because the writer could not keep up")

// The process
RT_PROCESS_COUNTER(process_cpu, "process_cpu_seconds_total", "", seconds,
                   "Time of all cores, in user space and in the kernel")
RT_PROCESS_GAUGE(process_start_time, "process_start_time_seconds", "", seconds,
                 "When the process began, since 1970")
RT_PROCESS_GAUGE(process_resident_bytes, "process_resident_memory_bytes", "", bytes,
                 "Memory in RAM")
RT_PROCESS_GAUGE(process_open_fds, "process_open_fds", "", none,
                 "Descriptors open; connections are in the rings' own tables")
RT_PROCESS_GAUGE(process_max_fds, "process_max_fds", "", none, "RLIMIT_NOFILE")
RT_PROCESS_GAUGE(store_damages, "store_damages", "", none,
                 "Damaged places that were found in the message log at the start")

// The store
RT_GAUGE(store_out_of_space, "store_out_of_space", "", none,
         "1 while sends are refused because the disk is full")
RT_COUNTER(store_commits, "store_commits_total", "", none, "Batches written to the message log")
RT_GAUGE(store_waiting, "store_waiting", "", none, "Records not yet durable")
RT_GAUGE(store_conversations, "store_conversations", "", none, "Conversations that ever were")
RT_GAUGE(store_index_bytes, "store_index_bytes", "", bytes,
         "Memory for each conversation's newest message, read positions and warm conversations")
RT_GAUGE(store_repeats_forgotten, "store_repeats_forgotten", "", none,
         "Sends that the start left out of repeat protection: over a million were young enough")
RT_GAUGE(store_blocks_forgotten, "store_blocks_forgotten", "", none,
         "Index blocks left out because too many were due at once: reading there is slower")
// The store when it is MySQL
RT_GAUGE(store_away, "store_away", "", none,
         "1 while the database cannot be reached or takes nothing: sends are refused in time")
RT_GAUGE(store_flush_weak, "store_flush_weak", "", none,
         "1 if the database acknowledges before its log is on disk: power loss may lose messages")
RT_COUNTER(store_connects, "store_connects_total", "", none,
           "Connections that the message lanes made to the database")
RT_COUNTER(store_repeats_conflict, "store_repeats_total", "cause=\"conflict\"", none,
           "Batches written again, by cause: deadlock, or another node had given the ids")
RT_COUNTER(store_repeats_duplicate, "store_repeats_total", "cause=\"duplicate\"", none, "")
RT_COUNTER(store_refused_deadline, "store_refused_total", "cause=\"deadline\"", none,
           "Messages that did not get into the database, by cause")
RT_COUNTER(store_refused_row, "store_refused_total", "cause=\"row\"", none, "")
RT_COUNTER(store_commits_unanswered, "store_commits_unanswered_total", "", none,
           "Times the answer to a COMMIT was lost, and had to be found out")

// The mirror in Redis
RT_COUNTER(redis_forgotten, "redis_forgotten_total", "", none,
           "Changes not told to the mirror because its lane was full; a rebuild follows")
RT_PROCESS_COUNTER(redis_pipelines, "redis_pipelines_total", "", none, "Pipelines sent to Redis")
RT_PROCESS_COUNTER(redis_commands, "redis_commands_total", "", none,
                   "Commands that Redis answered, without those of the mirror's own mark")
RT_PROCESS_COUNTER(redis_connects, "redis_connects_total", "", none, "Connections made to Redis")
RT_PROCESS_COUNTER(redis_lost, "redis_failures_total", "cause=\"lost\"", none,
                   "Pipelines, connects and commands that failed, by cause")
RT_PROCESS_COUNTER(redis_timeout, "redis_failures_total", "cause=\"timeout\"", none, "")
RT_PROCESS_COUNTER(redis_denied, "redis_failures_total", "cause=\"denied\"", none, "")
RT_PROCESS_COUNTER(redis_refused, "redis_failures_total", "cause=\"refused\"", none, "")
RT_PROCESS_COUNTER(redis_loading, "redis_failures_total", "cause=\"loading\"", none, "")
RT_PROCESS_COUNTER(redis_wrong_type, "redis_failures_total", "cause=\"wrong_type\"", none, "")
RT_PROCESS_COUNTER(redis_other, "redis_failures_total", "cause=\"other\"", none, "")
RT_PROCESS_GAUGE(redis_connected, "redis_connected", "", none,
                 "1 while every pool's server takes what is sent")
RT_PROCESS_GAUGE(redis_changes, "redis_changes", "", none, "Changes that Redis does not have yet")
RT_PROCESS_GAUGE(redis_lag, "redis_lag_seconds", "", seconds,
                 "Age of the oldest change that Redis does not have yet")
RT_PROCESS_COUNTER(redis_rebuilds, "redis_rebuilds_total", "", none,
                   "Times everything in Redis was begun to be written anew")
RT_PROCESS_GAUGE(redis_rebuild_due, "redis_rebuild_due", "", none,
                 "1 from when Redis is known to be incomplete until it is rebuilt")
RT_PROCESS_GAUGE(
    redis_rebuild_done, "redis_rebuild_rows", "state=\"done\"", none,
    "Rows of the store that the latest rebuild has written, and how many there are, about")
RT_PROCESS_GAUGE(redis_rebuild_total, "redis_rebuild_rows", "state=\"total\"", none, "")

// Memory of what grows with the users; queues, caches and the store have gauges of their own
RT_GAUGE(connections_bytes, "structure_bytes", "structure=\"connections\"", bytes,
         "Memory of what grows with the users, by structure")
RT_GAUGE(session_table_bytes, "structure_bytes", "structure=\"session_table\"", bytes, "")
RT_GAUGE(online_users_bytes, "structure_bytes", "structure=\"online_users\"", bytes, "")
RT_GAUGE(directory_bytes, "structure_bytes", "structure=\"directory\"", bytes, "")
RT_GAUGE(memberships_bytes, "structure_bytes", "structure=\"memberships\"", bytes, "")
RT_GAUGE(groups_bytes, "structure_bytes", "structure=\"groups\"", bytes, "")

// Logins
RT_COUNTER(logins_accepted, "logins_total", "outcome=\"accepted\"", none,
           "Login requests decided, by outcome")
RT_COUNTER(logins_refused, "logins_total", "outcome=\"refused\"", none, "")
RT_COUNTER(logins_too_many, "logins_total", "outcome=\"too_many\"", none, "")
RT_COUNTER(logins_busy, "logins_total", "outcome=\"busy\"", none, "")
RT_COUNTER(logins_failed, "logins_total", "outcome=\"storage\"", none, "")
RT_COUNTER(kicks, "kicks_total", "", none,
           "Sessions kicked by another login or by the user's phone")
RT_GAUGE(sessions, "sessions", "", none, "Sessions logged in")
RT_COUNTER(relays, "relays_total", "", none, "Pass-through commands taken from clients")
RT_COUNTER(presence_pushes, "presence_pushes_total", "", none,
           "Lists of presence changes queued to PC sessions")
RT_COUNTER(profile_pushes, "profile_pushes_total", "", none,
           "Lists of changed avatars and signatures queued to sessions")
RT_COUNTER(contact_lists, "contact_lists_total", "", none,
           "Lists of users or departments told, whole or since a stamp")
RT_COUNTER(contact_reads, "contact_list_reads_total", "", none,
           "Times the store was asked what is new for those lists")
RT_PROCESS_GAUGE(contact_cache_bytes, "contact_cache_bytes", "", bytes,
                 "Memory of the lists of users and departments, ready to be sent")
RT_GAUGE(sessions_open, "users_online", "", none, "Users with a session at home on this shard")

// Frames that were not executed
RT_COUNTER(frames_unknown, "frames_ignored_total", "cause=\"unknown\"", none,
           "Frames ignored or closed for, by cause")
RT_COUNTER(frames_unparsable, "frames_ignored_total", "cause=\"unparsable\"", none, "")
RT_COUNTER(frames_before_login, "frames_ignored_total", "cause=\"before_login\"", none, "")
RT_COUNTER(frames_internal, "frames_ignored_total", "cause=\"internal\"", none, "")

// Messages
RT_COUNTER(sends_acknowledged, "sends_acknowledged_total", "", none,
           "Messages made durable and acknowledged")
RT_COUNTER(sends_repeated, "sends_repeated_total", "", none,
           "Sends answered with the id of an earlier equal one")
RT_COUNTER(sends_paced, "sends_paced_total", "", none,
           "Times a connection was paused because its user sent too fast")
RT_COUNTER(sends_refused_rule, "sends_refused_total", "cause=\"rule\"", none,
           "Sends refused, by cause")
RT_COUNTER(sends_refused_store, "sends_refused_total", "cause=\"store\"", none, "")
RT_COUNTER(deliveries, "deliveries_total", "", none,
           "Messages queued to sessions of receivers and of the author's other devices")
RT_COUNTER(delivery_acks, "delivery_acks_total", "", none, "Deliveries confirmed by their receiver")
RT_COUNTER(delivery_missed, "delivery_missed_total", "", none, "Deliveries not confirmed in time")
RT_COUNTER(read_positions_moved, "read_positions_moved_total", "", none,
           "Read positions moved by what clients have read")
RT_GAUGE(repeat_window_bytes, "repeat_window_bytes", "", bytes,
         "Memory that remembers sends for repeat protection; its cap")
RT_GAUGE(repeat_evicted_early, "repeat_evicted_early", "", none,
         "Sends forgotten before their time because that memory was full")
