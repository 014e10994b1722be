//! Examples of every state and every event of each chart, for the walk over all pairs.

/// What a chart's states and events are represented by.
pub(super) struct Examples {
    pub(super) name: &'static str,
    /// How a chart begins, and the events that lead to a state, separated by semicolons.
    pub(super) states: &'static [(&'static str, &'static str)],
    pub(super) events: &'static [&'static str],
}

pub(super) const SEGMENT: Examples = Examples {
    name: "segment",
    states: &[
        ("with index", ""),
        ("with index", "FirstRecord 10"),
        ("with index", "FirstRecord 10; BoundaryReached 19"),
        ("with index", "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19"),
        ("with index", "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted"),
        ("with index", "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; StoreFailed"),
        (
            "with index",
            "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; ObjectAlreadyExists 10-14",
        ),
        ("with mirrors", "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted"),
        (
            "with mirrors",
            "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; ObjectStored 10-19; MirrorsFailed",
        ),
        (
            "without index",
            "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; ObjectStored 10-19",
        ),
        (
            "with index",
            "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; ObjectStored 10-19; CommitGranted",
        ),
        (
            "without index",
            "FirstRecord 10; BoundaryReached 19; SpoolCompleted 10-19; UploadGranted; ObjectStored 10-19; CommitGranted",
        ),
    ],
    events: &[
        "FirstRecord 10",
        "BoundaryReached 9",
        "BoundaryReached 10",
        "SpoolCompleted 10-19",
        "SpoolCompleted 10-18",
        "UploadGranted",
        "ObjectStored 10-19",
        "ObjectStored 10-14",
        "ObjectAlreadyExists 10-19",
        "ObjectAlreadyExists 10-14",
        "ObjectAlreadyExists 5-19",
        "ObjectConflicts",
        "MirrorsStored",
        "MirrorsConflict",
        "MirrorsFailed",
        "StoreFailed",
        "CommitGranted",
        "IndexRowWritten",
        "IndexFailed",
        "IndexConflicts",
        "OffsetCommitted",
        "CommitFailed",
        "CommitVoid",
        "RetryDue",
        "Discarded",
    ],
};

pub(super) const PARTITION: Examples = Examples {
    name: "partition",
    states: &[
        ("2", ""),
        ("2", "Located 10"),
        ("2", "Located 10; SegmentSealed 10-19"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20"),
        ("1", "Located 10; SegmentSealed 10-19"),
        ("1", "Located 10; SegmentSealed 10-19; SpoolCompleted 10"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; SpoolCompleted 20; SegmentResolved 20 next 30",
        ),
        ("3", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20"),
        (
            "3",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; SpoolCompleted 20; SegmentResolved 20 next 30",
        ),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 15"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; SegmentResolved 20 next 25",
        ),
        ("2", "Located 10; SpoolShort"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolShort"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SpoolShort"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SpoolShort"),
        ("3", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; SpoolShort"),
        (
            "3",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; SpoolCompleted 20; SegmentResolved 20 next 30; SpoolShort",
        ),
        ("2", "Located 10; SegmentSealed 10-19; InputEnded"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; InputEnded"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; InputEnded",
        ),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; InputEnded"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; SpoolCompleted 20; SegmentResolved 20 next 30; InputEnded",
        ),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; DrainRequested"),
        ("2", "Located 10; SegmentSealed 10-19; DrainRequested"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; DrainRequested",
        ),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; DrainRequested"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; DrainRequested",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; SpoolCompleted 20; SegmentResolved 20 next 30; DrainRequested",
        ),
        ("2", "Located 10; LogBroken"),
        ("2", "Located 10; SegmentSealed 10-19; LogBroken"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; LogBroken"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; LogBroken"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; LogBroken; \
             SegmentResolved 10 next 20",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; LogBroken; \
             SegmentResolved 10 next 20; SegmentCommitted 10",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; LogBroken; SegmentResolved 20 next 30",
        ),
        ("2", "Located 10; LogBroken; HistoryDoubted"),
        ("2", "Located 10; Interrupted"),
        ("2", "Located 10; RevokedHolding"),
        ("2", "Located 10; SegmentSealed 10-19; RevokedHolding"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; RevokedHolding",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; \
             RevokedHolding; SegmentResolved 10 next 20; SegmentCommitted 10",
        ),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; RevokedHolding; SegmentResolved 20 next 30",
        ),
        ("2", "Located 10; TopicGone"),
        ("2", "Located 10; SegmentSealed 10-19; TopicGone"),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; TopicGone"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; SegmentSealed 20-29; \
             SpoolCompleted 20; TopicGone; SegmentResolved 20 next 30",
        ),
        ("2", "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; TopicGone; InputEnded"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentSealed 20-29; SpoolCompleted 20; TopicGone; \
             InputEnded; SegmentResolved 10 next 15",
        ),
        ("2", "Located 10; RevokedHolding; TopicGone"),
        (
            "2",
            "Located 10; SegmentSealed 10-19; SpoolCompleted 10; SegmentResolved 10 next 20; RevokedHolding; TopicGone; \
             InputEnded",
        ),
        ("2", "Blocked"),
        ("2", "Revoked"),
    ],
    events: &[
        "Located 30",
        "Blocked",
        "LogBroken",
        "LogUnchanged",
        "RetentionPassed",
        "LogCut",
        "Interrupted",
        "HistoryDoubted",
        "LookDue",
        "InputEnded",
        "TopicGone",
        "TopicConfirmed",
        "SpoolShort",
        "SpoolGranted",
        "SegmentSealed 10-19",
        "SegmentSealed 15-24",
        "SegmentSealed 20-29",
        "SpoolCompleted 10",
        "SpoolCompleted 20",
        "SegmentResolved 10 next 20",
        "SegmentResolved 10 next 20 other",
        "SegmentResolved 10 next 15",
        "SegmentResolved 10 next 40",
        "SegmentResolved 20 next 30",
        "SegmentCommitted 10",
        "SegmentCommitted 20",
        "Revoked",
        "RevokedHolding",
        "DrainRequested",
    ],
};

pub(super) const INPUT: Examples = Examples {
    name: "input",
    states: &[
        ("", ""),
        ("", "EndReached 10 of 12"),
        ("", "EndReached 10; RecordsArrived"),
        ("", "Closed failed"),
        ("", "Closed retention"),
        ("", "Closed topic-gone"),
        ("", "Closed failed; QueueDrained"),
        ("", "Closed retention; QueueDrained"),
        ("", "Closed topic-gone; QueueDrained"),
        ("", "TargetReached"),
        ("at target", ""),
        ("at target", "TargetArchived"),
    ],
    events: &[
        "RecordsArrived",
        "EndReached 20",
        "EndReached 20 of 21",
        "TargetReached",
        "TargetArchived",
        "Closed failed",
        "Closed retention",
        "Closed topic-gone",
        "QueueDrained",
        "TakenAgain",
    ],
};

pub(super) const ASSIGNMENT: Examples = Examples {
    name: "assignment",
    states: &[
        ("", ""),
        ("", "PartitionsAssigned 1:"),
        ("", "PartitionsAssigned 1: 0"),
        ("", "PartitionsAssigned 1: 0 1"),
        ("", "PartitionsAssigned 1: 0; DrainRequested"),
        ("", "PartitionsAssigned 1: 0 1; DrainRequested"),
        ("", "DrainRequested"),
    ],
    events: &[
        "PartitionsAssigned 2:",
        "PartitionsAssigned 2: 0",
        "PartitionsAssigned 2: 2",
        "PartitionsRevoked 0",
        "PartitionsRevoked 0 1",
        "WriterGone 0 of 1",
        "WriterGone 0 of 0",
        "DrainRequested",
        "DrainExpired",
    ],
};

pub(super) const UPLOAD: Examples = Examples {
    name: "upload",
    states: &[
        ("1000", ""),
        ("1000", "Started"),
        ("1000", "Started; ObjectAbsent"),
        ("1000 by 400", "Started; ObjectAbsent; Initiated"),
        ("1000 by 400", "Started; ObjectAbsent; Initiated; ChunkAcknowledged 400"),
        ("1000 by 400", "Started; ObjectAbsent; Initiated; ChunkAcknowledged 400; OutcomeUnknown"),
        ("1000", "Resumed"),
        ("1000 by 400", "Resumed; StatusAnswered 400"),
        ("1000", "Resumed; ChecksumRefused; RetryDue; Initiated"),
        ("1000", "Resumed; ChecksumRefused; RetryDue; Initiated; OutcomeUnknown"),
        ("1000", "Resumed; SessionGone"),
        (
            "1000",
            "Resumed; SessionGone; ObjectAbsent; RetryDue; Initiated; SessionGone; ObjectAbsent; RetryDue; Initiated; SessionGone",
        ),
        ("1000", "Started; ObjectAbsent; Forbidden"),
        ("1000", "Started; ObjectFound 1000 7"),
        ("1000", "Started; ObjectFound 999 7"),
        ("1000", "Resumed; ChecksumRefused; RetryDue; Initiated; ChecksumRefused"),
        ("1000", "Started; Forbidden"),
        (
            "1000",
            "Resumed; SessionGone; ObjectAbsent; RetryDue; Initiated; SessionGone; ObjectAbsent; RetryDue; Initiated; SessionGone; ObjectAbsent",
        ),
    ],
    events: &[
        "Started",
        "Resumed",
        "ObjectAbsent",
        "ObjectFound 1000 7",
        "ObjectFound 1000 8",
        "ObjectFound 1000",
        "ObjectFound 999 7",
        "Initiated",
        "ChunkAcknowledged 300",
        "ChunkAcknowledged 600",
        "ChunkAcknowledged 800",
        "ChunkAcknowledged 1001",
        "AcknowledgedNothing",
        "StatusAnswered 0",
        "StatusAnswered 800",
        "StatusAnswered 1001",
        "ObjectFinalized 1000 7",
        "ObjectFinalized 1000 8",
        "ObjectFinalized 1000",
        "OutcomeUnknown",
        "SessionGone",
        "Unauthorised",
        "PreconditionFailed",
        "Forbidden",
        "ChecksumRefused",
        "Refused",
        "RetryDue",
    ],
};
