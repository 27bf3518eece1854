"""python -m dala"""

from dala.cli.main import main

raise SystemExit(main())
