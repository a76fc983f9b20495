//! No text makes a parser panic, and what is printed reads back.

use proptest::prelude::*;

use crate::*;

proptest! {
    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,40}|[-a-z0-9.:,=/\"\\[\\]]{0,40}") {
        let _ = boolean::parse(&text);
        let _ = cpus::parse(&text);
        let _ = csv::fields(&text);
        let _ = detach::parse(&text);
        let _ = device::parse(&text);
        let _ = device::cgroup_rule(&text);
        let _ = duration::parse(&text);
        let _ = env::file("f", text.as_bytes(), |_| None);
        let _ = filter::parse(&text);
        let _ = host::add_host(&text);
        let _ = host::sysctl(&text);
        let _ = mount::parse(&text);
        let _ = port::parse(&text);
        let _ = port::expose(&text);
        let _ = restart::parse(&text);
        let _ = signal::parse(&text);
        let _ = size::ram_in_bytes(&text);
        let _ = ulimit::parse(&text);
        let _ = user::parse(&text);
        let _ = volume::parse(&text);
    }

    #[test]
    fn durations_read_back(nanoseconds in any::<i64>()) {
        prop_assert_eq!(duration::parse(&duration::format(nanoseconds)), Ok(nanoseconds));
    }

    #[test]
    fn fields_read_back(fields in proptest::collection::vec("[ -~]{1,8}", 1..5)) {
        let quoted: Vec<String> = fields.iter().map(|f| format!("\"{}\"", f.replace('"', "\"\""))).collect();
        prop_assert_eq!(csv::fields(&quoted.join(",")), Ok(fields));
    }

    #[test]
    fn ports_read_back(host in 1u16.., container in 1u16..) {
        let list = port::parse(&format!("{host}:{container}/udp")).expect("ports");
        prop_assert_eq!(list.len(), 1);
        prop_assert_eq!(list[0].container.number, container);
        prop_assert_eq!(&list[0].host_port, &host.to_string());
    }

    #[test]
    fn typing_is_passed_on_unless_it_detaches(typed in proptest::collection::vec(15u8..19, 0..40), step in 1usize..5) {
        let mut scanner = detach::Scanner::new(vec![16, 17]);
        let (mut out, mut detached) = (Vec::new(), false);
        for piece in typed.chunks(step) {
            let (part, end) = scanner.scan(piece);
            out.extend(part);
            if end {
                detached = true;
                break;
            }
        }
        let at = typed.windows(2).position(|pair| pair == [16, 17]);
        prop_assert_eq!(detached, at.is_some());
        match at {
            Some(at) => prop_assert_eq!(&out[..], &typed[..at]),
            None => prop_assert!(typed.starts_with(&out) && typed.len() - out.len() <= 1),
        }
    }
}
