"""Notifications of orders: callbacks and mails, which couriers deliver from the outbox."""
