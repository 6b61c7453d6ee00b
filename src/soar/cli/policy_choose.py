"""`soar policy choose`: for each task the policy that did it best in trials."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from soar.cli.flags import opening


@dataclass(frozen=True, kw_only=True)
class Choose:
    """Make one policy of several: for each task the one that did it best in trials.

    Two policies, such as one that reaches subgoals and one that follows instructions, fail at different tasks. The file that
    is written is a policy like any other for `collect` and `evaluate`. The best of several looks better than it is: choose on
    other starts than those that you report.

    Example: soar evaluate --scene scene6 --policy base --first-trial 1000 --trials 20 --out goals.json
             soar evaluate --scene scene6 --policy language --first-trial 1000 --trials 20 --out words.json
             soar policy choose base language --by goals.json words.json --out chosen.yaml
             soar evaluate --scene scene6 --policy chosen.yaml --out chosen.json
    """

    policies: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Two or more, as `soar collect` takes them: `base` and `language` are those that come with SOAR."""
    by: tuple[Path, ...]
    """Evaluations of theirs, as `soar evaluate --out` writes them."""
    out: Path
    """File to write."""

    def run(self) -> None:
        """Run it."""
        from soar.base_models import policy_named
        from soar.cli.tables import print_choices, say
        from soar.errors import ConfigError
        from soar.evaluation.choosing import choose
        from soar.evaluation.trials import read_evaluation
        from soar.files import write_text
        from soar.policies.by_task import file_of
        from soar.policies.loading import load_policy

        if len(set(self.policies)) < 2 or len(set(self.policies)) < len(self.policies):
            raise ConfigError(f"name two policies or more, each once; got {', '.join(self.policies) or 'none'}")
        if self.out.suffix not in (".yaml", ".yml"):
            raise ConfigError(f"--out {self.out}: name a YAML file, for example chosen.yaml")
        if any(os.path.exists(name) and os.path.realpath(name) == os.path.realpath(self.out) for name in self.policies):
            raise ConfigError(f"--out {self.out} is one of the policies: name another file")
        evaluations = [read_evaluation(path) for path in self.by]
        opening(*self.policies)
        places = {name: policy_named(name) for name in self.policies}
        choices = choose(evaluations, {name: load_policy(place).id for name, place in places.items()})
        print_choices(choices)
        if choices.unlike:
            say(
                f"{', '.join(choices.unlike)}: the policies were tried from different starts, so that luck chooses, "
                "too. Try them with one --first-trial and one --trials."
            )
        found = {name: str(Path(place).absolute()) if Path(place).exists() else place for name, place in places.items()}
        tasks = {one.task: found[one.policy] for one in choices.tasks}
        write_text(self.out, file_of(found[choices.otherwise], tasks))
        say(f"{self.out} lets the policy act that is chosen for the task; {choices.otherwise} in tasks that are not listed.")
