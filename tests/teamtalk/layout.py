"""The tables of a TeamTalk deployment, as its installer makes them and as they are found in the field.

No unique key besides the primary ones, and no foreign key: that is the original, not an omission.
"""

MESSAGE_TABLES = 8
BINARY = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
PLAIN = "ENGINE=InnoDB DEFAULT CHARSET=utf8"

INSTALLER = "installer"  # what today's schema file makes
OLD = "old"      # an older dump: no push_shield_status, a short signature that may be NULL, no file table
LOWER = "lower"  # as the installer's, with table names in lower case
VARIANTS = (INSTALLER, OLD, LOWER)

USER_COLUMNS = ("id", "sex", "name", "domain", "nick", "password", "salt", "phone", "email", "avatar",
                "departId", "status", "created", "updated", "push_shield_status", "sign_info")

TABLES = {
    "IMAdmin": ("""
  id mediumint(6) unsigned NOT NULL AUTO_INCREMENT,
  uname varchar(40) NOT NULL,
  pwd char(32) NOT NULL,
  status tinyint(2) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id)""", PLAIN),
    "IMAudio": ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  fromId int(11) unsigned NOT NULL,
  toId int(11) unsigned NOT NULL,
  path varchar(255) DEFAULT '',
  size int(11) unsigned NOT NULL DEFAULT '0',
  duration int(11) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_fromId_toId (fromId, toId)""", BINARY),
    "IMDepart": ("""
  id int(11) unsigned NOT NULL AUTO_INCREMENT,
  departName varchar(64) NOT NULL DEFAULT '',
  priority int(11) unsigned NOT NULL DEFAULT '0',
  parentId int(11) unsigned NOT NULL,
  status int(11) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL,
  updated int(11) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_departName (departName),
  KEY idx_priority_status (priority, status)""", BINARY),
    "IMDiscovery": ("""
  id int(11) unsigned NOT NULL AUTO_INCREMENT,
  itemName varchar(64) NOT NULL DEFAULT '',
  itemUrl varchar(64) NOT NULL DEFAULT '',
  itemPriority int(11) unsigned NOT NULL,
  status int(11) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL,
  updated int(11) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_itemName (itemName)""", BINARY),
    "IMGroup": ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  name varchar(256) NOT NULL DEFAULT '',
  avatar varchar(256) NOT NULL DEFAULT '',
  creator int(11) unsigned NOT NULL DEFAULT '0',
  type tinyint(3) unsigned NOT NULL DEFAULT '1',
  userCnt int(11) unsigned NOT NULL DEFAULT '0',
  status tinyint(3) unsigned NOT NULL DEFAULT '1',
  version int(11) unsigned NOT NULL DEFAULT '1',
  lastChated int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_name (name(191)),
  KEY idx_creator (creator)""", BINARY),
    "IMGroupMember": ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  groupId int(11) unsigned NOT NULL,
  userId int(11) unsigned NOT NULL,
  status tinyint(4) unsigned NOT NULL DEFAULT '1',
  created int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_groupId_userId_status (groupId, userId, status),
  KEY idx_userId_status_updated (userId, status, updated),
  KEY idx_groupId_updated (groupId, updated)""", PLAIN),
    "IMRecentSession": ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  userId int(11) unsigned NOT NULL,
  peerId int(11) unsigned NOT NULL,
  type tinyint(1) unsigned DEFAULT '0',
  status tinyint(1) unsigned DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_userId_peerId_status_updated (userId, peerId, status, updated),
  KEY idx_userId_peerId_type (userId, peerId, type)""", PLAIN),
    "IMRelationShip": ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  smallId int(11) unsigned NOT NULL,
  bigId int(11) unsigned NOT NULL,
  status tinyint(1) unsigned DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_smallId_bigId_status_updated (smallId, bigId, status, updated)""", PLAIN),
    "IMTransmitFile": ("""
  id int(11) unsigned NOT NULL AUTO_INCREMENT,
  fromId int(11) unsigned NOT NULL,
  toId int(11) unsigned NOT NULL,
  fileName varchar(512) NOT NULL DEFAULT '',
  size int(11) unsigned NOT NULL DEFAULT '0',
  taskId varchar(64) NOT NULL DEFAULT '',
  status tinyint(3) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_toId_status_created (toId, status, created)""", BINARY),
    "IMUser": ("""
  id int(11) unsigned NOT NULL AUTO_INCREMENT,
  sex tinyint(1) unsigned NOT NULL DEFAULT '0',
  name varchar(32) NOT NULL DEFAULT '',
  domain varchar(32) NOT NULL DEFAULT '',
  nick varchar(32) NOT NULL DEFAULT '',
  password varchar(32) NOT NULL DEFAULT '',
  salt varchar(4) NOT NULL DEFAULT '',
  phone varchar(11) NOT NULL DEFAULT '',
  email varchar(64) NOT NULL DEFAULT '',
  avatar varchar(255) DEFAULT '',
  departId int(11) unsigned NOT NULL,
  status tinyint(2) unsigned DEFAULT '0',
  created int(11) unsigned NOT NULL,
  updated int(11) unsigned NOT NULL,
  push_shield_status tinyint(1) unsigned NOT NULL DEFAULT '0',
  sign_info varchar(128) NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  KEY idx_domain (domain),
  KEY idx_name (name),
  KEY idx_phone (phone)""", BINARY),
}
SINGLE_MESSAGES = ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  relateId int(11) unsigned NOT NULL,
  fromId int(11) unsigned NOT NULL,
  toId int(11) unsigned NOT NULL,
  msgId int(11) unsigned NOT NULL,
  content varchar(4096) DEFAULT '',
  type tinyint(2) unsigned NOT NULL DEFAULT '1',
  status tinyint(1) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL,
  created int(11) unsigned NOT NULL,
  PRIMARY KEY (id),
  KEY idx_relateId_status_created (relateId, status, created),
  KEY idx_relateId_status_msgId_created (relateId, status, msgId, created),
  KEY idx_fromId_toId_created (fromId, toId, status)""", BINARY)
GROUP_MESSAGES = ("""
  id int(11) NOT NULL AUTO_INCREMENT,
  groupId int(11) unsigned NOT NULL,
  userId int(11) unsigned NOT NULL,
  msgId int(11) unsigned NOT NULL,
  content varchar(4096) NOT NULL DEFAULT '',
  type tinyint(3) unsigned NOT NULL DEFAULT '2',
  status int(11) unsigned NOT NULL DEFAULT '0',
  updated int(11) unsigned NOT NULL DEFAULT '0',
  created int(11) unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  KEY idx_groupId_status_created (groupId, status, created),
  KEY idx_groupId_msgId_status_created (groupId, msgId, status, created)""", BINARY)
for number in range(MESSAGE_TABLES):
    TABLES[f"IMMessage_{number}"] = SINGLE_MESSAGES
    TABLES[f"IMGroupMessage_{number}"] = GROUP_MESSAGES

# Numbers of the logical databases, by pool: of the installer, and of the sample in the source tree.
REDIS_NUMBERS = {
    "installer": {"unread": 1, "group_set": 2, "sync": 3, "token": 4, "group_member": 5},
    "sample": {"unread": 1, "group_set": 1, "sync": 2, "token": 1, "group_member": 1},
}


def table_name(name, variant):
    return name.lower() if variant == LOWER else name


def tables(variant):
    """Names in the installer's spelling of what this variant has."""
    return [name for name in TABLES if not (variant == OLD and name == "IMTransmitFile")]


def schema(variant=INSTALLER):
    """The statements that make it, in an empty database."""
    if variant not in VARIANTS:
        raise ValueError(variant)
    out = []
    for name in tables(variant):
        columns, options = TABLES[name]
        if name == "IMUser" and variant == OLD:
            columns = columns.replace("  push_shield_status tinyint(1) unsigned NOT NULL DEFAULT '0',\n", "")
            columns = columns.replace("sign_info varchar(128) NOT NULL DEFAULT ''",
                                      "sign_info varchar(32) DEFAULT NULL")
        out.append(f"CREATE TABLE `{table_name(name, variant)}` ({columns}\n) {options};\n")
    return "\n".join(out)


def user_columns(variant):
    return [name for name in USER_COLUMNS if not (variant == OLD and name == "push_shield_status")]
