"""Print the lowest versions that pyproject.toml allows of what icshift and its charts need, as constraints for pip."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
needed = [*project["dependencies"], *extras["demo"], *extras["charts"]]
sys.stdout.write("".join(requirement.replace(">=", "==") + "\n" for requirement in needed))
