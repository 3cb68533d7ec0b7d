"""From result files to what people read: leaderboards, ledger, reports, pictures, the site."""
