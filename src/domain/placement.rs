//! Which workers a server starts on its own host: one for each card, or one.

/// What each worker computes on, in order: `count` of them (none: one for each of `cards` NVIDIA
/// cards, or one where there is no card), told to use `device`. `auto` spreads them over the cards;
/// more workers than cards share them.
pub fn placement(count: Option<u32>, device: &str, cards: u32) -> Vec<String> {
    let on_cards = device == "auto" && cards > 0;
    let count = count.unwrap_or(if on_cards { cards } else { 1 });
    let place = |number: u32| {
        if on_cards {
            format!("cuda:{}", number % cards)
        } else {
            device.to_owned()
        }
    };
    (0..count).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_card_has_one_worker_and_a_host_without_cards_one_in_all() {
        assert_eq!(placement(None, "auto", 3), ["cuda:0", "cuda:1", "cuda:2"]);
        assert_eq!(placement(None, "auto", 0), ["auto"]);
    }

    #[test]
    fn a_number_is_obeyed_and_more_workers_than_cards_share_them() {
        assert_eq!(placement(Some(3), "auto", 2), ["cuda:0", "cuda:1", "cuda:0"]);
        assert_eq!(placement(Some(1), "auto", 8), ["cuda:0"]);
        assert_eq!(placement(Some(2), "auto", 0), ["auto", "auto"]);
        assert!(placement(Some(0), "auto", 2).is_empty());
    }

    #[test]
    fn a_device_that_was_named_is_used_whatever_there_is() {
        assert_eq!(placement(None, "cpu", 4), ["cpu"]);
        assert_eq!(placement(Some(2), "cuda:1", 4), ["cuda:1", "cuda:1"]);
    }
}
