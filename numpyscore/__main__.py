"""python -m numpyscore"""

import sys

from .cli import main

sys.exit(main())
