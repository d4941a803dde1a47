"""What is told of orders: callbacks and mails, taken from the outbox by couriers."""
