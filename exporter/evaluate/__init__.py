"""Scores whence on recorded failures whose causes are known. Only `truth` opens the truth; the engine sees what a Collector would send."""
