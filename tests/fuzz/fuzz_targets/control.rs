#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| origin::webrtc::fuzz::control(data));
