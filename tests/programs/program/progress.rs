//! Maps that say how far they are, on a terminal that the test looks at.

use std::process::ExitCode;

use procession::{Event, Pool};

/// Runs a scenario of this family: three items, of which the last two wait for a line on stdin.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let pool = Pool::builder().workers(2).start_method(crate::method(rest)).build();
    let pool = pool.expect("a pool");
    let event = Event::new().expect("an event");
    let options = pool.options().chunk_size(1).progress();
    let items = (0..3).map(|number| (number, event.clone()));
    let go = {
        let event = event.clone();
        std::thread::spawn(move || {
            std::io::stdin().read_line(&mut String::new()).expect("somebody says so");
            event.set();
        })
    };
    let sum: u32 = match scenario {
        "map" => options.starmap(wait, items).expect("values").into_iter().sum(),
        // Nobody waits for it.
        "map_async" => {
            let result = options.starmap_async(wait, items).expect("it is open");
            event.wait();
            result.get().expect("values").into_iter().sum()
        }
        "imap" => options.istarmap(wait, items).map(|value| value.expect("a value")).sum(),
        "imap_progress" => {
            let values = pool.istarmap(wait, items.take_while(|_| true)).progress();
            values.map(|value| value.expect("a value")).sum()
        }
        _ => return None,
    };
    go.join().expect("no panic");
    println!("{}", sum == 3);
    Some(ExitCode::SUCCESS)
}

fn wait(number: u32, event: Event) -> u32 {
    if number > 0 {
        event.wait();
    }
    number
}
