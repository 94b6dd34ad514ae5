"""The page: one file per tab, with plain handlers; what moves under the hand is JavaScript in components/."""
