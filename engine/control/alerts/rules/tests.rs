#![allow(clippy::unwrap_used)]

use super::super::Severity;
use super::*;

/// Rules with settings that differ from the defaults, a clock, and one subject.
struct Scene {
    watch: Watch,
    rules: BTreeMap<AlertRule, RuleSettings>,
    next_id: i64,
}

impl Scene {
    fn new(rule: AlertRule, threshold: Option<f64>, for_seconds: u32) -> Scene {
        let settings = RuleSettings { enabled: true, threshold, for_seconds };
        Scene { watch: Watch::default(), rules: [(rule, settings)].into(), next_id: 1 }
    }

    /// What is done at a second, confirmed.
    fn at(&mut self, second: i64, rule: AlertRule, reading: Reading) -> Vec<Change> {
        let known = Known { observations: vec![of(rule, "oanda", reading)], complete: [rule].into() };
        self.take(second, &known)
    }

    fn take(&mut self, second: i64, known: &Known) -> Vec<Change> {
        let changes = self.watch.step(second * SECOND_NS, &self.rules, known);
        for change in &changes {
            match change {
                Change::Raise(of) => {
                    self.watch.raised(of.rule, &of.subject, self.next_id, second * SECOND_NS);
                    self.next_id += 1;
                }
                Change::Clear { rule, subject, .. } => self.watch.cleared(*rule, subject),
            }
        }
        changes
    }
}

fn of(rule: AlertRule, subject: &str, reading: Reading) -> Observation {
    Observation {
        rule,
        subject: subject.into(),
        source: Some(subject.into()),
        owner: String::new(),
        reading,
        trouble: format!("{subject} is refused"),
        well: format!("{subject} delivers again"),
    }
}

fn raises(changes: &[Change]) -> bool {
    matches!(changes, [Change::Raise(_)])
}

fn clears(changes: &[Change]) -> Option<&str> {
    match changes {
        [Change::Clear { message, .. }] => Some(message),
        _ => None,
    }
}

const RULE: AlertRule = AlertRule::ConnectionError;
use Reading::{Measured, Trouble, Unknown, Well};

#[test]
fn it_is_raised_once_after_its_time_and_cleared_once_with_how_long_it_was() {
    let mut scene = Scene::new(RULE, None, 30);
    for second in 0..30 {
        assert!(scene.at(second, RULE, Trouble).is_empty(), "{second}");
    }
    assert_eq!(scene.watch.counts(RULE), (0, 1));
    assert!(raises(&scene.at(30, RULE, Trouble)));
    for second in 31..200 {
        assert!(scene.at(second, RULE, Trouble).is_empty(), "{second}: it is raised already");
    }
    assert_eq!(scene.watch.counts(RULE), (1, 0));
    for second in 200..230 {
        assert!(scene.at(second, RULE, Well).is_empty(), "{second}: it may come back");
    }
    assert_eq!(clears(&scene.at(230, RULE, Well)), Some("oanda delivers again (raised for 2 min 50 s)"));
    for second in 231..300 {
        assert!(scene.at(second, RULE, Well).is_empty());
    }
    assert_eq!(scene.watch.counts(RULE), (0, 0));
    assert!(scene.at(300, RULE, Trouble).is_empty() && raises(&scene.at(330, RULE, Trouble)), "another one");
}

#[test]
fn what_comes_and_goes_is_one_alert_and_a_short_trouble_none() {
    let mut scene = Scene::new(RULE, None, 30);
    // Twenty seconds away, ten there, again and again.
    let flapping = |second: i64| if second % 30 < 20 { Trouble } else { Well };
    let changes: Vec<_> = (0..600).flat_map(|second| scene.at(second, RULE, flapping(second))).collect();
    assert!(raises(&changes), "{changes:?}");
    let changes: Vec<_> = (600..700).flat_map(|second| scene.at(second, RULE, Well)).collect();
    assert!(clears(&changes).is_some());

    let mut scene = Scene::new(RULE, None, 30);
    let rare = |second: i64| if second % 100 < 29 { Trouble } else { Well };
    let changes: Vec<_> = (0..1000).flat_map(|second| scene.at(second, RULE, rare(second))).collect();
    assert_eq!(changes, [], "it is well for long enough in between");
}

#[test]
fn what_is_not_known_neither_raises_nor_clears() {
    let mut scene = Scene::new(RULE, None, 10);
    assert!((0..100).all(|second| scene.at(second, RULE, Unknown).is_empty()));
    assert!(scene.at(100, RULE, Trouble).is_empty());
    assert!((101..150).all(|second| scene.at(second, RULE, Unknown).is_empty()), "trouble is not known to last");
    assert!(raises(&scene.at(150, RULE, Trouble)));
    assert!((151..300).all(|second| scene.at(second, RULE, Unknown).is_empty()));
    assert!(scene.at(300, RULE, Well).is_empty());
    assert!(scene.at(305, RULE, Unknown).is_empty());
    assert!(scene.at(311, RULE, Well).is_empty(), "well since 311, as far as is known");
    assert!(clears(&scene.at(321, RULE, Well)).is_some());
}

#[test]
fn a_measure_must_come_back_by_more_than_a_hair() {
    let lag = AlertRule::StorageLag;
    let mut scene = Scene::new(lag, Some(60.0), 0);
    assert!(scene.at(0, lag, Measured(60.0)).is_empty(), "not above");
    assert!(raises(&scene.at(1, lag, Measured(60.1))));
    assert!(scene.at(2, lag, Measured(59.0)).is_empty() && scene.at(3, lag, Measured(48.1)).is_empty());
    assert!(clears(&scene.at(4, lag, Measured(48.0))).is_some());
    assert!(scene.at(5, lag, Measured(59.0)).is_empty());

    let disk = AlertRule::DiskLow;
    let mut scene = Scene::new(disk, Some(5.0), 0);
    assert!(scene.at(0, disk, Measured(5.0)).is_empty());
    assert!(raises(&scene.at(1, disk, Measured(4.9))));
    assert!(scene.at(2, disk, Measured(5.4)).is_empty(), "the log was cut, and grows again");
    assert!(scene.at(3, disk, Measured(f64::NAN)).is_empty());
    assert!(clears(&scene.at(4, disk, Measured(5.6))).is_some());
}

#[test]
fn a_restart_neither_raises_again_nor_forgets_to_clear() {
    let alert = |subject: &str| Alert {
        id: 7,
        rule: RULE,
        subject: subject.into(),
        source: Some(subject.into()),
        owner: String::new(),
        severity: Severity::Critical,
        message: String::new(),
        raised_ns: 0,
        cleared_ns: None,
        cleared_message: None,
    };
    let mut scene = Scene::new(RULE, None, 10);
    scene.watch = Watch::new(&[alert("oanda")]);
    assert!((100..110).all(|second| scene.at(second, RULE, Unknown).is_empty()), "it connects");
    assert!((110..150).all(|second| scene.at(second, RULE, Trouble).is_empty()), "it is raised already");
    assert!((150..160).all(|second| scene.at(second, RULE, Well).is_empty()));
    assert!(clears(&scene.at(160, RULE, Well)).is_some());

    // What is not configured any more is cleared too, once it is known what is.
    scene.watch = Watch::new(&[alert("gone")]);
    assert!(scene.take(200, &Known::default()).is_empty());
    let changes = scene.at(201, RULE, Well);
    assert_eq!(clears(&changes), Some("gone: is not there any more"));
}

#[test]
fn a_rule_that_is_switched_off_clears_its_alerts_and_raises_none() {
    let mut scene = Scene::new(RULE, None, 0);
    assert!(raises(&scene.at(0, RULE, Trouble)));
    scene.rules.get_mut(&RULE).unwrap().enabled = false;
    assert_eq!(clears(&scene.at(1, RULE, Trouble)), Some("oanda: the rule was switched off"));
    assert!((2..100).all(|second| scene.at(second, RULE, Trouble).is_empty()));
}

#[test]
fn what_could_not_be_kept_is_said_again() {
    let mut watch = Watch::default();
    let rules = [(RULE, RuleSettings { enabled: true, threshold: None, for_seconds: 0 })].into();
    let known = |reading| Known { observations: vec![of(RULE, "a", reading)], complete: [RULE].into() };
    assert!(raises(&watch.step(0, &rules, &known(Trouble))));
    assert!(raises(&watch.step(SECOND_NS, &rules, &known(Trouble))), "nobody confirmed it");
    watch.raised(RULE, "a", 1, SECOND_NS);
    assert!(clears(&watch.step(2 * SECOND_NS, &rules, &known(Well))).is_some());
    assert!(clears(&watch.step(3 * SECOND_NS, &rules, &known(Well))).is_some());
}

#[test]
fn spans_are_for_people() {
    let text = |seconds| lasted(seconds * SECOND_NS);
    assert_eq!(
        [text(-5), text(59), text(61), text(7_320), text(90_000)],
        ["0 s", "59 s", "1 min 1 s", "2 h 2 min", "1 d 1 h"]
    );
}
