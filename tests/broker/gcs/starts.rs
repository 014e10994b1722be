//! What a start asks the store for.

use crate::support::broker::Broker;
use crate::support::bucket::Bucket;
use crate::support::fake_gcs::Kind;
use crate::support::records::numbered;

const PARTITIONS: i32 = 6;

/// However long the chains are. With `--offset-reset error`, which is the default, each start listed each of them whole.
#[test]
fn a_start_lists_no_chain_whole() {
    let broker = Broker::get();
    let topic = broker.create_topic("gcs-start", PARTITIONS, &[]);
    (0..PARTITIONS).for_each(|partition| broker.produce(&topic, partition, &numbered(0..60), &[]));
    let bucket = Bucket::new();
    let daemon = |group: &str| bucket.daemon(&broker, &topic, group).args(&["--file-records", "1"]);
    daemon(&topic).until_end();
    assert_eq!(bucket.segments().len(), 360);
    // As if there were thousands of segments: twelve pages for each chain.
    bucket.fake.set(|settings| settings.page_limit = 5);
    let lists = || bucket.fake.counts().of(Kind::List);
    let before = lists();
    daemon(&topic).offset_reset("error").until_end();
    let asked = lists() - before;
    // A later lineage is looked for, and the end of the chain, from the segment that the commit names.
    assert!(asked <= 2 * PARTITIONS as u64 + 4, "{asked} pages were listed");

    // A group without commits: that there is something is seen in the origin, without a list.
    let before = lists();
    let plan = daemon(&format!("{topic}-other")).offset_reset("error").args(&["--timeout", "0", "--until-end"]).run();
    assert!(!plan.log.contains("has no committed offset"), "{}", plan.log);
    println!("{} pages without commits", lists() - before);
    bucket.check();
}
