//! librdkafka's brokers in memory, for the demo and for error codes that no real broker can be had to give: no network but loopback, nothing on disk.

use super::list::topic_string;
use super::{KafkaError, owned, rd};
use kafka_store_statecharts::topic::TopicName;
use std::ffi::c_int;
use std::ptr::NonNull;

/// Brokers that live in this process. They keep about 5 MiB of stored batches for each partition.
#[derive(Debug)]
pub struct MockBrokers {
    cluster: NonNull<rd::rd_kafka_mock_cluster_t>,
    /// The client whose threads they run on.
    handle: NonNull<rd::rd_kafka_t>,
}

// SAFETY: the functions of a mock cluster take its own lock.
unsafe impl Send for MockBrokers {}

impl MockBrokers {
    /// Starts brokers that let a group's first member begin at once.
    pub fn start(count: i32) -> Result<MockBrokers, KafkaError> {
        let mut text = [0; 512];
        // SAFETY: the configuration is taken over by the client; the cluster is freed before the client.
        unsafe {
            let conf = rd::rd_kafka_conf_new();
            // It talks to nobody itself, and would say so.
            rd::rd_kafka_conf_set(conf, c"log_level".as_ptr(), c"0".as_ptr(), std::ptr::null_mut(), 0);
            let handle = rd::rd_kafka_new(rd::rd_kafka_type_t::RD_KAFKA_PRODUCER, conf, text.as_mut_ptr(), text.len());
            let Some(handle) = NonNull::new(handle) else {
                rd::rd_kafka_conf_destroy(conf);
                return Err(KafkaError::local(owned(text.as_ptr())));
            };
            let cluster = rd::rd_kafka_mock_cluster_new(handle.as_ptr(), count as c_int);
            let Some(cluster) = NonNull::new(cluster) else {
                rd::rd_kafka_destroy(handle.as_ptr());
                return Err(KafkaError::local("the brokers in memory do not start".to_owned()));
            };
            rd::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster.as_ptr(), 0);
            rd::rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster.as_ptr(), 500);
            rd::rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster.as_ptr(), 3_000);
            Ok(MockBrokers { cluster, handle })
        }
    }

    /// Where clients find them.
    pub fn bootstrap_servers(&self) -> String {
        // SAFETY: the string belongs to the cluster and is copied.
        owned(unsafe { rd::rd_kafka_mock_cluster_bootstraps(self.cluster.as_ptr()) })
    }

    /// Answers the next heartbeats of members with these errors: of the classic protocol, or of the newer one.
    #[cfg(test)]
    pub(crate) fn refuse_heartbeats(&self, with_newer_protocol: bool, refusals: &[HeartbeatRefusal]) {
        const HEARTBEAT: i16 = 12;
        const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
        let errors: Vec<rd::rd_kafka_resp_err_t> = refusals.iter().map(|refusal| refusal.code()).collect();
        let request = if with_newer_protocol { CONSUMER_GROUP_HEARTBEAT } else { HEARTBEAT };
        // SAFETY: the cluster is valid and the errors are copied.
        unsafe {
            rd::rd_kafka_mock_push_request_errors_array(self.cluster.as_ptr(), request, errors.len(), errors.as_ptr());
        }
    }

    /// Creates a topic.
    pub fn create_topic(&self, topic: &TopicName, partitions: i32) -> Result<(), KafkaError> {
        let name = topic_string(topic);
        // SAFETY: the cluster is valid and the name copied.
        KafkaError::check(unsafe {
            rd::rd_kafka_mock_topic_create(self.cluster.as_ptr(), name.as_ptr(), partitions as c_int, 1)
        })
    }

    /// Answers the next requests of a kind (its number in Kafka's protocol) with these error codes, one after the other.
    pub fn fail_requests(&self, api_key: i16, codes: &[i32]) {
        let codes: Vec<rd::rd_kafka_resp_err_t> = codes.iter().filter_map(|code| resp_err(*code)).collect();
        // SAFETY: the cluster is valid, and the codes are copied.
        unsafe {
            rd::rd_kafka_mock_push_request_errors_array(self.cluster.as_ptr(), api_key, codes.len(), codes.as_ptr());
        }
    }
}

/// The code that a broker answers with, of those that librdkafka names.
fn resp_err(code: i32) -> Option<rd::rd_kafka_resp_err_t> {
    use rd::rd_kafka_resp_err_t as Code;
    Some(match code {
        -1 => Code::RD_KAFKA_RESP_ERR_UNKNOWN,
        2 => Code::RD_KAFKA_RESP_ERR_INVALID_MSG,
        5 => Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        6 => Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        7 => Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        14 => Code::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        15 => Code::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        16 => Code::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        29 => Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        30 => Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        56 => Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        89 => Code::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        _ => return None,
    })
}

/// Why a heartbeat is refused.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeartbeatRefusal {
    InvalidRequest,
    UnreleasedInstanceId,
    GroupAuthorizationFailed,
    FencedInstanceId,
}

#[cfg(test)]
impl HeartbeatRefusal {
    fn code(self) -> rd::rd_kafka_resp_err_t {
        use rd::rd_kafka_resp_err_t as Code;
        match self {
            HeartbeatRefusal::InvalidRequest => Code::RD_KAFKA_RESP_ERR_INVALID_REQUEST,
            HeartbeatRefusal::UnreleasedInstanceId => Code::RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID,
            HeartbeatRefusal::GroupAuthorizationFailed => Code::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
            HeartbeatRefusal::FencedInstanceId => Code::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID,
        }
    }
}

impl Drop for MockBrokers {
    fn drop(&mut self) {
        // SAFETY: both are ours; the cluster goes first, since it runs on the client.
        unsafe {
            rd::rd_kafka_mock_cluster_destroy(self.cluster.as_ptr());
            rd::rd_kafka_destroy(self.handle.as_ptr());
        }
    }
}
