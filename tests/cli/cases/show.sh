$CAIRN show golden@20; echo "status $?"
$CAIRN show golden@30~1 | head -2
$CAIRN show golden@best | head -2
$CAIRN show golden@release | head -1
$CAIRN show golden@nonsense; echo "status $?"
$CAIRN show golden@99; echo "status $?"
$CAIRN show; echo "status $?"
$CAIRN show golden/checkpoint-20/training/optimizer.safetensors; echo "status $?"
mkdir hub && cp golden/checkpoint-20/model* hub/ && $CAIRN show hub | head -4
rm hub/model-00001-of-00004.safetensors; $CAIRN show hub; echo "status $?"
python3 -c 'import struct; text = b"{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"; open("plain.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + b"x")'
$CAIRN show plain.safetensors
rm golden/checkpoint-20/training/optimizer.safetensors; $CAIRN show golden/checkpoint-20; echo "status $?"
