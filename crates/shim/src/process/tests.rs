//! The diagram as a table, and what holds whatever happens in whatever order.

use proptest::prelude::*;

use super::*;
use Call as C;
use State as S;

const STATES: [State; 5] = [S::Created, S::Running, S::Paused, S::Draining, S::Stopped];
const CALLS: [Call; 5] = [C::Start, C::Pause, C::Resume, C::Update, C::Delete];

fn life(state: State, first: bool) -> Life {
    Life {
        state,
        call: None,
        first,
    }
}

#[test]
fn what_may_be_asked() {
    let allowed: Vec<(State, Call)> = STATES
        .into_iter()
        .flat_map(|state| CALLS.map(|call| (state, call)))
        .filter(|(state, call)| life(*state, true).apply(Event::Asked(*call)).is_ok())
        .collect();
    assert_eq!(
        allowed,
        [
            (S::Created, C::Start),
            (S::Created, C::Update),
            (S::Created, C::Delete),
            (S::Running, C::Pause),
            (S::Running, C::Update),
            (S::Paused, C::Resume),
            (S::Paused, C::Update),
            (S::Stopped, C::Delete),
        ]
    );
    let denied = life(S::Stopped, true).apply(Event::Asked(C::Start)).unwrap_err();
    assert_eq!(denied.to_string(), "cannot start a stopped process");
    assert_eq!(
        life(S::Draining, true).apply(Event::Asked(C::Delete)),
        Err(Denied::Busy)
    );
}

#[test]
fn what_becomes_of_a_call() {
    let done = |state, call, done| {
        let life = Life {
            call: Some(call),
            ..life(state, true)
        };
        let (after, effects) = life.apply(Event::Answered { call, done }).unwrap();
        assert_eq!(after.call, None);
        (after.state, effects)
    };
    let told = |told| vec![Effect::Tell(told)];
    assert_eq!(
        done(S::Created, C::Start, true),
        (S::Running, told(Told::Started))
    );
    assert_eq!(done(S::Created, C::Start, false), (S::Created, vec![]));
    assert_eq!(
        done(S::Draining, C::Start, true),
        (S::Draining, told(Told::Started))
    );
    assert_eq!(done(S::Running, C::Pause, true), (S::Paused, told(Told::Paused)));
    assert_eq!(done(S::Draining, C::Pause, true), (S::Draining, vec![]));
    assert_eq!(
        done(S::Paused, C::Resume, true),
        (S::Running, told(Told::Resumed))
    );
    assert_eq!(done(S::Stopped, C::Delete, false), (S::Stopped, vec![]));
    assert_eq!(
        done(S::Stopped, C::Delete, true),
        (S::Stopped, vec![Effect::Tell(Told::Deleted), Effect::Forget])
    );
    let exec = Life {
        call: Some(C::Start),
        ..life(S::Created, false)
    };
    let failed = Event::Answered {
        call: C::Start,
        done: false,
    };
    assert_eq!(exec.apply(failed).unwrap().0.state, S::Stopped);
    let (_, effects) = life(S::Stopped, false).apply(Event::Asked(C::Delete)).unwrap();
    assert_eq!(effects, [Effect::Forget]);
}

#[test]
fn an_exit_waits_for_the_start_to_be_told() {
    let (life, _) = Life::new(true).apply(Event::Asked(C::Start)).unwrap();
    let (life, effects) = life.apply(Event::Exited).unwrap();
    assert_eq!(effects, [Effect::Drain]);
    assert_eq!(life.apply(Event::Drained), Err(Denied::Busy));
    let answered = Event::Answered {
        call: C::Start,
        done: true,
    };
    let (life, effects) = life.apply(answered).unwrap();
    assert_eq!(effects, [Effect::Tell(Told::Started)]);
    let (life, effects) = life.apply(Event::Drained).unwrap();
    assert_eq!(effects, [Effect::Record, Effect::Tell(Told::Exited)]);
    assert_eq!((life.state, life.number()), (S::Stopped, 3));
}

fn event() -> impl Strategy<Value = Event> {
    let call = proptest::sample::select(CALLS.to_vec());
    prop_oneof![
        call.clone().prop_map(Event::Asked),
        (call, any::<bool>()).prop_map(|(call, done)| Event::Answered { call, done }),
        Just(Event::Exited),
        Just(Event::Drained),
    ]
}

proptest! {
    #[test]
    fn the_order_of_what_is_told_holds(
        first in any::<bool>(),
        events in proptest::collection::vec(event(), 0..60),
    ) {
        let mut life = Life::new(first);
        let mut told = Vec::new();
        let mut recorded = false;
        for event in events {
            // The runtime answers only what it was asked.
            if let Event::Answered { call, .. } = event
                && life.call != Some(call)
            {
                continue;
            }
            let Ok((after, effects)) = life.apply(event) else { continue };
            for effect in &effects {
                match effect {
                    Effect::Run(call) => prop_assert_eq!((life.call, after.call), (None, Some(*call))),
                    Effect::Record => recorded = true,
                    Effect::Tell(what) => told.push(*what),
                    _ => {}
                }
            }
            let at = |what| told.iter().position(|told| *told == what);
            if let (Some(started), Some(exited)) = (at(Told::Started), at(Told::Exited)) {
                prop_assert!(started < exited);
            }
            prop_assert!(told.iter().filter(|told| **told == Told::Exited).count() <= 1);
            prop_assert_eq!(recorded, first && told.contains(&Told::Exited));
            if effects.contains(&Effect::Forget) {
                break;
            }
            // What ended stays ended.
            prop_assert!(!life.ended() || after.ended());
            life = after;
        }
    }
}
