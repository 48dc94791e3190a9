"""How often the judge is right: answers of known quality, labels of people, and what they tell."""
