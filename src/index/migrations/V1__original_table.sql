CREATE TABLE IF NOT EXISTS kafka_store (
  topic varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
  `partition` int NOT NULL,
  startOffset bigint NOT NULL,
  finalOffset bigint NOT NULL,
  byteSize bigint NOT NULL,
  md5Hash varchar(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
  `time` datetime NOT NULL,
  PRIMARY KEY (topic, `partition`, startOffset),
  KEY time_index (topic, `partition`, `time`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
