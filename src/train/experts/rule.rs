//! The table `[experts]` of a recipe.

use serde::{Deserialize, Serialize};

use crate::mask::cascade::{MOST_COMPONENTS, MOST_EXPERTS};
use crate::train::recipe::{Recipe, SelectionRule};

/// How the experts of a cascade come about. The recipe without this table trains the dispatcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpertsRule {
    /// Groups of images that are looked for, 2 to 32: one expert each, but for those with
    /// fewer images than `least`. The paper has 5.
    pub count: usize,
    /// Principal components of the dispatcher's embeddings in which groups are looked for, at most 64. The paper has 20.
    pub components: usize,
    /// Rounds of expectation and maximisation at most; fewer where nothing moves any more.
    pub rounds: u32,
    /// Variance that a group is given in every direction, in shares of all images', as if it had that of
    /// `components` + 1 images more: so that few images make no needle.
    pub floor: f64,
    /// Steps of an expert's training, its warm-up counted.
    pub steps: u32,
    /// Images that an expert needs. Groups with fewer are dissolved into the others; where fewer than
    /// two are left, there are no experts.
    pub least: usize,
    /// Length of the joint embedding. The paper has the base's own; each number costs
    /// `count` + 1 times as many bytes of the artefact as an embedding of the base is long.
    pub width: usize,
}

impl ExpertsRule {
    /// What is wrong with it, in a recipe whose batch and selection are these.
    pub(in crate::train) fn flaw(
        &self,
        batch: usize,
        selection: Option<&SelectionRule>,
    ) -> Option<&'static str> {
        // As in `moments::split`.
        let nth = selection.map(|rule| (1.0 / rule.held_out).round().max(2.0) as usize);
        let train = self.least - nth.map_or(0, |nth| self.least.div_ceil(nth));
        let flaws = [
            (
                !(2..=MOST_EXPERTS).contains(&self.count),
                "experts.count must be 2 to 32",
            ),
            (
                !(1..=MOST_COMPONENTS).contains(&self.components),
                "experts.components must be 1 to 64",
            ),
            (
                self.rounds == 0 || self.steps == 0 || self.width == 0,
                "experts.rounds, .steps and .width must be above 0",
            ),
            (
                !(self.floor > 0.0 && self.floor <= 1.0),
                "experts.floor is a share above 0 and at most 1",
            ),
            (
                train < batch,
                "experts.least must leave an expert a whole batch (schedule.batch) to train on",
            ),
        ];
        flaws.into_iter().find_map(|(wrong, flaw)| wrong.then_some(flaw))
    }
}

impl Recipe {
    /// The recipe by which an expert trains: as this one, in the steps of an expert; none without experts.
    pub fn of_expert(&self) -> Option<Self> {
        let steps = self.experts.as_ref()?.steps;
        let single = Self {
            experts: None,
            ..self.clone()
        };
        Some(single.within(steps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "
        [experts]
        count = 3
        components = 8
        rounds = 50
        floor = 0.1
        steps = 60
        least = 80
        width = 32
    ";

    fn parsed(change: (&str, &str)) -> Result<Recipe, crate::train::TrainError> {
        let text = include_str!("../../../recipes/factory.toml");
        Recipe::parse(&format!("{text}{}", TABLE.replace(change.0, change.1)))
    }

    #[test]
    fn a_table_of_experts_is_read_is_part_of_the_digest_and_leaves_the_dispatcher_alone() {
        let recipe = parsed(("", "")).unwrap();
        assert_ne!(recipe.digest(), Recipe::factory().digest());
        let of_expert = recipe.of_expert().unwrap();
        assert_eq!((of_expert.schedule.steps, of_expert.schedule.warm_up), (60, 5));
        assert_eq!((of_expert.experts, Recipe::factory().of_expert()), (None, None));
        // A smaller budget is shared out in proportion.
        assert_eq!(recipe.within(100).of_expert().unwrap().schedule.steps, 15);
    }

    #[test]
    fn numbers_that_make_no_experts_are_refused_by_name() {
        for (from, to, named) in [
            ("count = 3", "count = 1", "experts.count"),
            ("count = 3", "count = 33", "experts.count"),
            ("components = 8", "components = 65", "experts.components"),
            ("rounds = 50", "rounds = 0", "experts.rounds"),
            ("floor = 0.1", "floor = 0.0", "experts.floor"),
            ("floor = 0.1", "floor = nan", "experts.floor"),
            ("least = 80", "least = 63", "experts.least"),
            ("width = 32", "widht = 32", "widht"),
        ] {
            let said = parsed((from, to)).unwrap_err().to_string();
            assert!(said.contains(named), "{to}: {said}");
        }
        // What is held out trains no expert.
        let held_out = "selection = { held-out = 0.1, every = 20 }\n";
        let text = |least: &str| {
            let factory = include_str!("../../../recipes/factory.toml");
            format!("{held_out}{factory}{}", TABLE.replace("least = 80", least))
        };
        assert!(Recipe::parse(&text("least = 80")).is_ok());
        assert!(Recipe::parse(&text("least = 70")).is_err());
    }
}
