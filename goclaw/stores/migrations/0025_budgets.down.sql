DROP TABLE budget_reservations, budget_purses;
