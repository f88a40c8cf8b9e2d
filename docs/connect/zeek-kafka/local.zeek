@load packages/zeek-kafka

redef Kafka::topic_name = "zeek-kafka";
redef Kafka::logs_to_send = set(Conn::LOG);
redef Kafka::tag_json = T;
redef Kafka::additional_message_values = table(["sensor"] = "edge-1");
redef Kafka::kafka_conf = table(
    ["metadata.broker.list"] = "127.0.0.1:9092",
    ["compression.codec"] = "lz4"
);
