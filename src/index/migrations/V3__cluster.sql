CREATE TABLE IF NOT EXISTS kafka_store_cluster (
  id tinyint NOT NULL DEFAULT 1,
  clusterId varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  since datetime NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4
