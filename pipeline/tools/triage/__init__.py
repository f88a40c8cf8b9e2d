"""The page for people: its store, its server, its accounts; needs `pip install '.[triage]'`."""
