//! The sample: a shop's orders, payments and clicks. Each record is a function of its place, so that nothing
//! has to be remembered for the comparison.

use kafka_store_statecharts::topic::TopicName;

/// A topic of the sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) partitions: i32,
    /// How many of every hundred records it gets.
    percent: u64,
}

pub(super) const TOPICS: [Topic; 3] = [
    Topic { name: "clicks", partitions: 2, percent: 50 },
    Topic { name: "orders", partitions: 4, percent: 30 },
    Topic { name: "payments", partitions: 2, percent: 20 },
];

/// When the sample begins: 2024-05-01 08:00 UTC, in milliseconds.
const BEGIN_MS: i64 = 1_714_550_400_000;
/// The hours of trade that the sample spreads over.
const HOURS: u64 = 5;

/// A record of the sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SampleRecord {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: i64,
    pub(super) headers: Vec<(&'static str, Option<Vec<u8>>)>,
}

pub(super) fn topic_names() -> Vec<TopicName> {
    TOPICS.map(|topic| TopicName::new(topic.name).expect("a legal name")).into()
}

impl Topic {
    /// How many records each partition gets of so many in all. The first partitions take what is left over.
    pub(super) fn records_in(&self, partition: i32, total: u64) -> u64 {
        let mut of_topic = total * self.percent / 100;
        if self.name == TOPICS[0].name {
            of_topic = total - TOPICS[1..].iter().map(|topic| total * topic.percent / 100).sum::<u64>();
        }
        let (partitions, partition) = (self.partitions as u64, partition as u64);
        of_topic / partitions + u64::from(partition < of_topic % partitions)
    }

    /// The record at a place of a partition that gets `count` of them.
    pub(super) fn record(&self, partition: i32, index: u64, count: u64) -> SampleRecord {
        let mut chance = Chance::new(self.name, partition, index);
        let span_ms = HOURS * 3_600_000;
        // In order, but for the jitter that producers' clocks have.
        let timestamp = BEGIN_MS + (index * span_ms / count.max(1)) as i64 + chance.below(2_000) as i64;
        let customer = chance.below(5_000);
        let value = match self.name {
            "orders" => order(index, customer, &mut chance),
            "payments" => payment(index, &mut chance),
            _ => click(customer, &mut chance),
        };
        // One in a hundred orders is withdrawn: a null value, as compaction wants it.
        let is_tombstone = self.name == "orders" && chance.below(100) == 0;
        SampleRecord {
            key: (self.name != "clicks").then(|| format!("{}-{partition}-{index}", &self.name[..2]).into_bytes()),
            value: (!is_tombstone).then(|| value.into_bytes()),
            timestamp,
            headers: if self.name == "payments" {
                vec![("trace", Some(format!("{:016x}", chance.next()).into_bytes())), ("retry", None)]
            } else {
                Vec::new()
            },
        }
    }
}

fn order(index: u64, customer: u64, chance: &mut Chance) -> String {
    const ARTICLES: [&str; 8] = ["teapot", "kettle", "cup", "saucer", "spoon", "tray", "sieve", "tea cosy"];
    let items: Vec<String> = (0..=chance.below(4))
        .map(|_| {
            let article = ARTICLES[chance.below(8) as usize];
            format!(
                "{{\"article\": \"{article}\", \"count\": {}, \"cents\": {}}}",
                1 + chance.below(5),
                99 + chance.below(9_000)
            )
        })
        .collect();
    format!("{{\"order\": {index}, \"customer\": {customer}, \"items\": [{}]}}", items.join(", "))
}

fn payment(index: u64, chance: &mut Chance) -> String {
    const WAYS: [&str; 4] = ["card", "transfer", "invoice", "voucher"];
    let way = WAYS[chance.below(4) as usize];
    format!(
        "{{\"order\": {index}, \"way\": \"{way}\", \"cents\": {}, \"iban\": \"XX{:018}\"}}",
        chance.below(50_000),
        chance.next() >> 8
    )
}

fn click(customer: u64, chance: &mut Chance) -> String {
    const PAGES: [&str; 6] = ["/", "/search?q=tea", "/article/teapot", "/article/cup", "/basket", "/checkout"];
    let page = PAGES[chance.below(6) as usize];
    let session = chance.next();
    format!(
        "{{\"customer\": {customer}, \"session\": \"{session:016x}\", \"page\": \"{page}\", \"ms\": {}, \"agent\": \
         \"Mozilla/5.0 (X11; Linux x86_64) demo/{}\"}}",
        chance.below(3_000),
        chance.below(40)
    )
}

/// Numbers that look random and depend on their place alone (splitmix64).
struct Chance(u64);

impl Chance {
    fn new(topic: &str, partition: i32, index: u64) -> Chance {
        let seed = topic.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(u64::from(byte)));
        Chance(seed ^ (partition as u64) << 48 ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_has_its_partition() {
        for total in [100, 101, 12_345, 120_000] {
            let sum: u64 = TOPICS
                .iter()
                .flat_map(|topic| (0..topic.partitions).map(move |partition| topic.records_in(partition, total)))
                .sum();
            assert_eq!(sum, total);
        }
    }

    #[test]
    fn a_record_is_a_function_of_its_place() {
        for topic in TOPICS {
            assert_eq!(topic.record(1, 7, 1_000), topic.record(1, 7, 1_000));
            assert_ne!(topic.record(1, 7, 1_000), topic.record(0, 7, 1_000));
        }
    }
}
