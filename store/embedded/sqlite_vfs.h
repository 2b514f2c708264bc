// SqliteVfs: SQLite's file layer over an engine::Disk, registered under a name.
//
// Thread rule  That of the Disk.
// Bound        No shared memory and no locks: databases on it are opened with
//              locking_mode=EXCLUSIVE, by one connection at a time. What keeps others away is the
//              LOCK file of the data directory.
// Errors       ENOSPC and EDQUOT are SQLITE_FULL; everything else, and every failed sync, the
//              SQLITE_IOERR_… of the call.
// Lifetime     Longer than every database opened through it.
// Why          On a FakeDisk the whole relational store runs in the simulator, through power cuts,
//              failed syncs and full disks, exactly as compiled.
#pragma once

#include <sqlite3.h>

#include <string>

#include "engine/clock.h"
#include "engine/disk.h"
#include "engine/random.h"

namespace ringtalk::store {

class SqliteVfs {
 public:
  SqliteVfs(std::string name, engine::Disk& disk, engine::Clock& clock, engine::Random& random);
  ~SqliteVfs();
  SqliteVfs(const SqliteVfs&)            = delete;
  SqliteVfs& operator=(const SqliteVfs&) = delete;

  // From now files promise what SQLite's own layer does: a torn write spares the bytes beside it, so
  // commits are not padded to whole sectors. Without it nothing is promised.
  void promise_powersafe_overwrite() { characteristics_ = SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  const std::string& name() const { return name_; }

 private:
  struct File;
  struct Calls;  // the C functions

  const std::string name_;
  engine::Disk& disk_;
  engine::Clock& clock_;
  engine::Random& random_;
  uint64_t temporaries_ = 0;  // names given to nameless files
  int last_error_       = 0;
  int characteristics_  = 0;
  sqlite3_vfs vfs_{};
};

}  // namespace ringtalk::store
